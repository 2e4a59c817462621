// The conformance suite: what each event does to a connection, as executable checks. They are written once and run against
// any transport. The table that they hold a transport to is in the documentation, in the chapter Cancellation.
//
// A check sees a transport only through the public API, and a plain kernel socket where it needs a peer that does what no
// runtime would. It never sleeps to wait: it waits for what happens. All it waits for is bounded by one deadline.

public import Martlet
internal import MartletStack

/// The conformance suite: every ``Check``, to be run in every ``Environment`` that a transport offers.
///
/// ```swift
/// for check in Conformance.checks {
///     if check.reasonToSkip(in: environment) == nil { try await check.run(in: environment) }
/// }
/// ```
public enum Conformance {
    /// All checks, in the order of the table.
    public static let checks: [Check] =
        ending + closing + failing + cancelling + finishing + receiving + sending + pressing + accepting + serving
        + shuttingDown + elsewhere + knowing + timing + randomised

    /// A transport, and how it is to be reached.
    public struct Environment: Sendable, CustomStringConvertible {
        /// What the environment is called in a report.
        public var name: String
        /// How the runtime of each check is made.
        public var configuration: Runtime.Configuration
        /// What the transport can do.
        public var abilities: Abilities
        /// Where a check may listen. A new address, or port 0, on each call.
        public var address: @Sendable () -> SocketAddress
        /// Called with the address when a check has ended.
        public var release: @Sendable (SocketAddress) -> Void
        /// Where the randomised checks begin. A failure names it.
        public var seed: UInt64
        /// How long one check may take.
        public var patience: Duration = .seconds(20)

        public init(
            name: String, configuration: Runtime.Configuration, abilities: Abilities, seed: UInt64,
            address: @escaping @Sendable () -> SocketAddress,
            release: @escaping @Sendable (SocketAddress) -> Void = { _ in }
        ) {
            self.name = name
            self.configuration = configuration
            self.abilities = abilities
            self.seed = seed
            self.address = address
            self.release = release
        }

        public var description: String { name }

        /// The same environment with one core: limits that are counted a core then have one count.
        func onOneCore() -> Environment {
            var environment = self
            environment.configuration.cores = .count(1)
            return environment
        }
    }

    /// What a transport can do, and what a check needs.
    public struct Abilities: OptionSet, Sendable {
        public let rawValue: Int

        public init(rawValue: Int) { self.rawValue = rawValue }

        /// A connection can be reset: the peer's next operation fails.
        public static let resets = Abilities(rawValue: 1 << 0)
        /// The peer acknowledges what it has received, and the transport knows.
        public static let acknowledges = Abilities(rawValue: 1 << 1)
        /// A kernel socket can reach the listener.
        public static let plainPeers = Abilities(rawValue: 1 << 2)

        /// Kernel TCP.
        public static let tcp: Abilities = [.resets, .acknowledges, .plainPeers]
        /// Unix-domain streams: no RST (only unread data makes one), and no acknowledgement.
        public static let unixDomain: Abilities = [.plainPeers]

        fileprivate var lacking: String {
            var words: [String] = []
            if contains(.resets) { words.append("resets") }
            if contains(.acknowledges) { words.append("acknowledgements") }
            if contains(.plainPeers) { words.append("plain peers") }
            return words.joined(separator: " and ")
        }
    }

    /// One sentence of the table, and how it is checked.
    public struct Check: Sendable, CustomStringConvertible {
        /// The sentence.
        public let name: String
        let needs: Abilities
        let body: @Sendable (Environment) async throws -> Void

        init(
            _ name: String, needs: Abilities = [], _ body: @escaping @Sendable (Environment) async throws -> Void
        ) {
            self.name = name
            self.needs = needs
            self.body = body
        }

        public var description: String { name }

        /// Why the check makes no sense in an environment, or nil if it does.
        public func reasonToSkip(in environment: Environment) -> String? {
            let missing = needs.subtracting(environment.abilities)
            return missing.isEmpty ? nil : "\(environment.name) has no \(missing.lacking)"
        }

        /// Runs the check. One that hangs is given up after the environment's `patience`.
        ///
        /// - Throws: ``ConformanceFailure``, or whatever went wrong besides.
        public func run(in environment: Environment) async throws {
            try await bounded(by: environment.patience, "'\(name)' in \(environment.name)") {
                try await body(environment)
            }
        }
    }
}

/// What a check found: an effect that is not the table's.
public struct ConformanceFailure: Error, CustomStringConvertible {
    public let description: String
}
