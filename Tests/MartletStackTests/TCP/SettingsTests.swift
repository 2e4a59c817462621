import Testing

@testable import MartletStack

@Suite struct SettingsTests {
    @Test(
        "settings that are the same are kept once, and forgotten with their last user",
        arguments: 0..<5 as Range<UInt64>)
    func sharing(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var table = SettingsTable(capacity: 8)
        var users: [UInt16] = []
        for _ in 0..<2000 {
            if Bool.random(using: &random), !users.isEmpty {
                table.release(users.remove(at: Int.random(in: 0..<users.count, using: &random)))
            } else {
                var settings = TCPSettings()
                settings.userTimeoutSeconds = UInt16.random(in: 0..<12, using: &random)
                if let number = table.take(settings) {
                    users.append(number)
                    #expect(table[number] == settings, "seed \(seed)")
                } else {
                    #expect(Set(users + [0]).count == 8, "seed \(seed): refused although there was room")
                }
            }
            #expect(table.count == Set(users + [0]).count, "seed \(seed)")
        }
        for number in users { table.release(number) }
        #expect(table.count == 1)
        #expect(table[0] == TCPSettings())
    }

    @Test("a listener's connections inherit its settings, and give them back")
    func inherited() throws {
        var pair = Pair()
        var settings = TCPSettings()
        settings.noDelay = true
        settings.receiveLimit = 10_000
        settings.congestion = .bbr
        let listener = pair.server.listen(port: 7, backlog: 4)
        #expect(pair.server.set(settings, of: listener) == true)
        let client = pair.client.connect(from: Pair.clientAddress, to: Pair.serverAddress, port: 7)
        var accepted: ConnectionID?
        while accepted == nil, pair.step(until: LifetimeTests.patience) { accepted = pair.server.accept(listener) }
        let server = try #require(accepted)
        #expect(pair.server.settings(of: server) == settings)
        #expect(pair.client.settings(of: client!) == TCPSettings())
        #expect(pair.server.tcp.settingsCount == 2)

        // Other settings for the listener leave the connection alone, and the other way around.
        #expect(pair.server.set(TCPSettings(), of: listener) == true)
        #expect(pair.server.settings(of: server) == settings)
        settings.noDelay = false
        #expect(pair.server.set(settings, of: server) == true)
        #expect(pair.server.settings(of: server) == settings)
        #expect(pair.server.tcp.settingsCount == 2)
        pair.server.abort(server)
        pair.server.release(server)
        _ = LifetimeTests.events(&pair, .server)
        #expect(pair.server.connectionCount == 0)
        #expect(pair.server.tcp.settingsCount == 1)
        #expect(pair.server.settings(of: server) == nil)
        #expect(pair.server.set(settings, of: server) == false)
        #expect(pair.server.tcp.settingsCount == 1, "settings for no connection are kept")
    }

    @Test("another algorithm goes on from the windows of the one before", arguments: CongestionAlgorithm.allCases)
    func otherAlgorithm(algorithm: CongestionAlgorithm) throws {
        for first in CongestionAlgorithm.allCases where first != algorithm {
            var control = CongestionControl(first)
            control.established(mss: 1_000)
            for _ in 0..<20 {
                control.acknowledged(
                    Acknowledgement(
                        now: .zero, bytes: 1_000, pipe: 10_000, sampleRTT: 100_000, smoothedRTT: 100_000,
                        isCwndLimited: true))
            }
            _ = control.lose()
            control.recoveryEnded(at: .zero)
            let (window, threshold) = (control.cwnd, control.ssthresh)
            control.change(to: algorithm, mss: 1_000, smoothedRTT: 100_000, at: .zero, random: 1)
            #expect(control.algorithm == algorithm && control.cwnd == window)
            #expect(control.ssthresh == (algorithm == .bbr ? .max : threshold))
        }
        var limits = TCPLimits()
        limits.congestion = algorithm == .bbr ? .cubic : .bbr
        var pair = try LifetimeTests.established(limits)
        let client = pair.clientID!
        // Only BBR has a rate.
        #expect((pair.client.info(of: client)!.pacingRate > 0) == (algorithm != .bbr))
        var settings = TCPSettings()
        settings.congestion = algorithm
        #expect(pair.client.set(settings, of: client) == true)
        #expect((pair.client.info(of: client)!.pacingRate > 0) == (algorithm == .bbr))
    }

    @Test("more different settings than there is room for are refused and counted, and change nothing")
    func tooMany() throws {
        var limits = TCPLimits()
        limits.settings = 3
        var pair = try LifetimeTests.established(limits)
        let client = pair.clientID!
        var settings = TCPSettings()
        var others: [ConnectionID] = []
        for seconds in 1...2 as ClosedRange<UInt16> {
            settings.userTimeoutSeconds = seconds
            let opened = pair.client.connect(from: Pair.clientAddress, to: Pair.serverAddress, port: 7, settings)
            others.append(try #require(opened))
        }
        settings.userTimeoutSeconds = 3
        #expect(pair.client.connect(from: Pair.clientAddress, to: Pair.serverAddress, port: 7, settings) == nil)
        #expect(pair.client.set(settings, of: client) == false)
        #expect(pair.client.settings(of: client) == TCPSettings())
        #expect(pair.client.counters.tcp.noSettings == 2)
        for other in others { pair.client.release(other) }
        _ = LifetimeTests.events(&pair, .client)
        #expect(pair.client.set(settings, of: client) == true)
    }
}
