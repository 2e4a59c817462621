// Events as a program sees them: who is named, how often, and that nobody is named for nothing.

import Testing

@testable import MartletStack

@Suite struct StackEventTests {
    private static func events(_ host: inout Host) -> [StackEvent] {
        var all: [StackEvent] = []
        while let event = host.stack.nextEvent() { all.append(event) }
        return all
    }

    private static func changes(_ events: [StackEvent]) -> [(IPAddress, InterfaceEvent.Change)] {
        events.compactMap { event in
            if case .interface(let event) = event { (event.address.address, event.change) } else { nil }
        }
    }

    @Test func `A listener is named once for all connections that wait, and again only for new ones`() throws {
        var host = Host("10.0.0.1/24")
        let listener = host.stack.listen(port: 80, backlog: 4)
        func isNamed(_ events: [StackEvent]) -> Int {
            events.count { if case .listener(listener) = $0 { true } else { false } }
        }
        for _ in 0..<2 { _ = try host.stack.connect(to: IPAddress("10.0.0.1")!, port: 80) }
        host.wait(.seconds(1))
        var named = isNamed(Self.events(&host))
        #expect(named == 1)
        named = isNamed(Self.events(&host))
        #expect(named == 0)
        _ = try host.stack.connect(to: IPAddress("10.0.0.1")!, port: 80)
        host.wait(.seconds(1))
        named = isNamed(Self.events(&host))
        #expect(named == 1)
        var accepted = 0
        while host.stack.accept(listener) != nil { accepted += 1 }
        #expect(accepted == 3)
    }

    @Test func `A listener that is closed resets who waits, is not named, and leaves its port to another`() throws {
        var host = Host("10.0.0.1/24")
        let listener = try host.stack.listen(on: 80, backlog: 4)
        let client = try host.stack.connect(to: IPAddress("10.0.0.1")!, port: 80)
        host.wait(.seconds(1))
        #expect(throws: ListenError.inUse) { _ = try host.stack.listen(on: 80) }
        host.stack.close(listener)
        host.wait(.seconds(1))
        let isNamed = Self.events(&host).contains { if case .listener = $0 { true } else { false } }
        #expect(!isNamed)
        #expect(host.stack.error(of: client) == .reset)
        let refused = try host.stack.connect(to: IPAddress("10.0.0.1")!, port: 80)
        host.wait(.seconds(1))
        #expect(host.stack.error(of: refused) == .refused)
        _ = try host.stack.listen(on: 80)
    }

    @Test func `An address is told of when it may be used, and when it is removed`() {
        var host = AutoconfigurationTests.host("10.0.0.1/24")
        host.wait(.milliseconds(1))
        #expect(Self.changes(Self.events(&host)).isEmpty)
        #expect(host.stack.addresses(of: 0).first?.isUsable == false)
        host.wait(.seconds(12))
        let gained = Self.changes(Self.events(&host)).filter { $0.0 == IPAddress("10.0.0.1")! }
        #expect(gained.map(\.1) == [.gained])
        #expect(host.stack.addresses(of: 0).first?.isUsable == true)
        let isRemoved = host.stack.removeAddress(IPAddress("10.0.0.1")!)
        #expect(isRemoved)
        let lost = Self.changes(Self.events(&host))
        #expect(lost.map(\.1) == [.lost])
    }

    @Test func `An address that somebody else has is a conflict, whether it was used or only claimed`() {
        for wait in [Duration.seconds(2), .seconds(20)] {
            var host = AutoconfigurationTests.host("10.0.0.1/24")
            host.wait(wait)
            _ = Self.events(&host)
            let other = FrameBytes.ethernet(
                FrameBytes.arp(2, from: "10.0.0.1", to: "10.0.0.1"), AutoconfigurationTests.arp, to: .broadcast)
            for _ in 0..<3 {
                host.receive(other)
                host.wait(.seconds(2))
            }
            let changes = Self.changes(Self.events(&host)).filter { $0.0 == IPAddress("10.0.0.1")! }
            #expect(changes.map(\.1) == [.conflict])
        }
    }

    @Test func `An address from a router's prefix comes and goes with its lifetime`() {
        var host = AutoconfigurationTests.host()
        host.wait(.seconds(5))
        _ = Self.events(&host)
        host.receive(AutoconfigurationTests.advertisement(valid: 7300))
        host.wait(.seconds(5))
        let gained = Self.changes(Self.events(&host))
        #expect(gained.map(\.1) == [.gained])
        host.wait(.seconds(7300))
        let lost = Self.changes(Self.events(&host))
        #expect(lost.map(\.1) == [.lost])
        #expect(lost.map(\.0) == gained.map(\.0))
    }

    @Test func `Interface events that nobody fetches are dropped from the oldest on, and counted`() {
        var news = InterfaceNews()
        for number in 0..<100 {
            let address = InterfaceAddress(.v4(IPv4Address(bits: UInt32(number))), prefixLength: 32)
            news.append(InterfaceEvent(interface: 0, address: address, origin: .manual, change: .gained))
        }
        #expect(news.lost == 36)
        for number in 36..<100 {
            let event = news.popFirst()
            #expect(event?.address.address == .v4(IPv4Address(bits: UInt32(number))))
        }
        let end = news.popFirst()
        #expect(end == nil)
    }

    @Test func `A route that is added leads there, and no longer once it is removed`() throws {
        var host = Host("10.0.0.1/24")
        let route = RouteConfiguration(to: InterfaceAddress("192.0.2.0/24")!, via: IPAddress("10.0.0.9")!)
        let peer = IPAddress("192.0.2.7")!
        #expect(throws: ConnectError.unreachable) { _ = try host.stack.connect(to: peer, port: 7) }
        let isAdded = host.stack.addRoute(route, on: 0)
        #expect(isAdded)
        _ = try host.stack.connect(to: peer, port: 7)
        let isRemoved = host.stack.removeRoute(route, on: 0)
        #expect(isRemoved)
        #expect(throws: ConnectError.unreachable) { _ = try host.stack.connect(to: peer, port: 7) }
    }

    @Test func `What a connection is opened to and from can be asked`() throws {
        var host = Host("10.0.0.1/24")
        let id = try host.stack.connect(to: IPAddress("10.0.0.9")!, port: 7)
        let known = host.stack.endpoints(of: id)
        let ends = try #require(known)
        #expect(ends.remote == Endpoint("10.0.0.9:7"))
        #expect(ends.local.address == IPAddress("10.0.0.1")!)
        #expect(ends.local.port >= 1024)
    }
}
