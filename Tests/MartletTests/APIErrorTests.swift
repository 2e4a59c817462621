// Errors name what to do about them; options have the defaults that their documentation promises.

import Martlet
import Testing

@Suite("Errors and options")
struct APIErrorTests {
    private static let everyError: [NetworkError] = [
        .cancelled, .deadlineExceeded, .reset, .closed, .idleTimeout, .writeTimeout, .timedOut,
        .connectionRefused(.loopback(port: 1)), .unreachable(.loopback(port: 1)), .addressInUse(.loopback(port: 1)),
        .addressNotAvailable(.loopback(port: 1)), .permissionDenied(.loopback(port: 1)), .invalidAddress("x"),
        .nameNotFound("x", reason: "y"), .outOfDescriptors, .limitReached("connectionsPerCore"), .shuttingDown,
        .system(errno: 5, during: "read"),
    ]

    @Test("every error has a message of its own, in lower case and without a full stop")
    func messages() {
        let messages = Self.everyError.map(\.description)
        #expect(Set(messages).count == messages.count)
        for message in messages {
            #expect(message.count > 10)
            #expect(!message.hasSuffix("."))
        }
    }

    @Test(
        "an error that somebody can do something about says what",
        arguments: [
            (NetworkError.permissionDenied(.loopback(port: 80)), ["127.0.0.1:80", "CAP_NET_BIND_SERVICE", "1024"]),
            (.addressInUse(.loopback(port: 80)), ["127.0.0.1:80", "another port"]),
            (.outOfDescriptors, ["ulimit -n"]),
            (.limitReached("connectionsPerCore"), ["connectionsPerCore", "configuration"]),
            (.invalidAddress("x:y"), ["x:y", "HOST:PORT", "[IPV6]:PORT", "unix:PATH"]),
            (.nameNotFound("nowhere", reason: "Name or service not known"), ["nowhere", "Name or service not known"]),
            (.addressNotAvailable(.loopback(port: 80)), ["127.0.0.1:80", "this machine"]),
            (.connectionRefused(.loopback(port: 80)), ["127.0.0.1:80", "nobody listens"]),
            (.system(errno: 5, during: "read"), ["read", "errno 5", "Input/output error"]),
        ])
    func remedies(_ error: NetworkError, _ words: [String]) {
        for word in words { #expect(error.description.contains(word), "'\(error)' does not say '\(word)'") }
    }

    @Test("a connection's options have the defaults that they promise")
    func connectionDefaults() {
        let options = ConnectionOptions()
        #expect(options.backlog == 4096)
        #expect(options.maximumConnectionsPerCore == .max)
        #expect(options.idleTimeout == nil)
        #expect(options.firstByteTimeout == nil)
        #expect(options.writeTimeout == nil)
        #expect(options.closeTimeout == .seconds(30))
        #expect(options.noDelay)
        #expect(options.keepAlive == nil)
        #expect(options.receiveLimit == 256 * 1024)
        #expect(options.sendLimit == 256 * 1024)
        #expect(options.kernelReceiveBuffer == nil)
        #expect(options.kernelSendBuffer == nil)
        #expect(options.steering == .hash)
        let keepAlive = ConnectionOptions.KeepAlive()
        #expect(keepAlive.idle == .seconds(60) && keepAlive.interval == .seconds(10) && keepAlive.count == 6)
    }

    @Test("a runtime's configuration has the defaults that it promises")
    func runtimeDefaults() {
        let configuration = Runtime.Configuration()
        #expect(configuration.cores == .all)
        #expect(configuration.driver == .automatic)
        #expect(configuration.idle == .sleep)
        #expect(!configuration.sqpoll)
        #expect(configuration.pinsThreads)
        #expect(configuration.shutdownSignals.isEmpty)
        #expect(configuration.shutdownTimeout == .seconds(10))
        let limits = Limits()
        #expect(limits.connectionsPerCore == 65_536)
        #expect(limits.receiveBufferSize == 16 * 1024)
        #expect(limits.jobsPerRound > 0)
        #expect(limits.receiveBuffers <= limits.maximumReceiveBuffers)
    }

    @Test("a driver is read by the name that MARTLET_DRIVER takes")
    func driverNames() {
        #expect(DriverChoice(rawValue: "io_uring") == .ioUring)
        #expect(DriverChoice(rawValue: "epoll") == .epoll)
        #expect(DriverChoice(rawValue: "automatic") == .automatic)
        #expect(DriverChoice(rawValue: "kqueue") == nil)
    }
}
