// Which of several places a flow belongs to, whatever place its frames come to: a hash of both ends, so that it needs no table.
//
// It is symmetric, as receive-side scaling is with a symmetric key (Woo and Park, "Scalable TCP session monitoring with Symmetric
// Receive-side Scaling", 2012): both directions of a flow have one place. And it is keyed, so that no stranger can choose
// flows that all have one.

/// A flow: the two ends of a TCP connection, or of datagrams that go between two UDP sockets.
public struct Flow: BitwiseCopyable, Hashable, Sendable {
    /// The ends, as the host sees them that a frame is for.
    var ends: FourTuple
    /// Whether it is of UDP; else it is of TCP.
    public internal(set) var isDatagrams: Bool

    /// The port of the host that the frame is for.
    public var localPort: UInt16 { ends.localPort }

    /// The flow of packets that come to `local` from `remote`.
    ///
    /// - Precondition: both are of one IP version.
    public init(local: Endpoint, remote: Endpoint, isDatagrams: Bool = false) {
        ends = FourTuple(
            localAddress: local.address, localPort: local.port, remoteAddress: remote.address, remotePort: remote.port)
        self.isDatagrams = isDatagrams
    }

    init(_ ends: FourTuple, isDatagrams: Bool) {
        self.ends = ends
        self.isDatagrams = isDatagrams
    }
}

/// The places that flows are spread over, and the secret by which they are.
public struct FlowSpread: BitwiseCopyable, Sendable {
    /// How many places there are.
    public let places: Int
    private let keys: (UInt64, UInt64, UInt64, UInt64)

    /// A spread over `places` places. Those who are to agree on the place of a flow have one secret.
    ///
    /// - Precondition: there are 1 ... 65,535.
    public init(over places: Int, secret: StackSecret) {
        precondition(places >= 1 && places <= 65_535, "flows are spread over 1 ... 65,535 places")
        self.places = places
        func key(_ number: UInt64) -> UInt64 {
            var hash = SipHash(key: secret)
            return hash.finish(number, byteCount: 1)
        }
        // Odd: an even factor would lose bits.
        keys = (key(201), key(202), key(203), key(204) | 1)
    }

    /// The same secret over another number of places.
    public func over(_ places: Int) -> FlowSpread { FlowSpread(over: places, keys) }

    private init(over places: Int, _ keys: (UInt64, UInt64, UInt64, UInt64)) {
        precondition(places >= 1 && places <= 65_535, "flows are spread over 1 ... 65,535 places")
        self.places = places
        self.keys = keys
    }

    /// The place of a flow, and of the same flow as its other end sees it.
    @inline(__always)
    public func place(of flow: Flow) -> Int { place(of: flow.ends) }

    @inline(__always)
    func place(of ends: FourTuple) -> Int {
        // A sum does not tell one end from the other.
        let sum = hash(ends.local, ends.localPort) &+ hash(ends.remote, ends.remotePort)
        let mixed = Self.product(sum ^ keys.2, keys.3)
        return Int(truncatingIfNeeded: ((mixed &>> 32) &* UInt64(places)) &>> 32)
    }

    @inline(__always)
    private func hash(_ address: IPv6Address, _ port: UInt16) -> UInt64 {
        Self.product(address.low ^ keys.0, address.high &+ UInt64(port) &<< 40 ^ keys.1)
    }

    @inline(__always)
    private static func product(_ first: UInt64, _ second: UInt64) -> UInt64 {
        let (high, low) = first.multipliedFullWidth(by: second)
        return high ^ low
    }
}
