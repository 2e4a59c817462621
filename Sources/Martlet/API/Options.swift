// What a program may set, each with a default that suits a server on a network it does not trust.

/// Options of a listener and of the connections that it accepts, or of one outgoing connection.
public struct ConnectionOptions: Sendable, Hashable {
    /// Connections that the kernel completes and holds before the program takes them. Default 4,096; the kernel's
    /// `net.core.somaxconn` bounds it.
    public var backlog: Int = 4096
    /// Connections that a listener may have open at once on each core. Default: as many as the core's ``Limits`` allow.
    public var maximumConnectionsPerCore: Int = .max
    /// Resets a connection on which no byte was received or accepted for sending for this long. Default: never.
    public var idleTimeout: Duration?
    /// Resets an accepted connection whose first byte has not come after this long. Default: never.
    public var firstByteTimeout: Duration?
    /// Resets a connection that has data to send and whose peer took none for this long. Default: never.
    public var writeTimeout: Duration?
    /// How long a closed connection may take to deliver its last data before it is reset. Default 30 s.
    public var closeTimeout: Duration = .seconds(30)
    /// Sends small segments at once (TCP_NODELAY). Default true: the runtime coalesces what a round brings.
    public var noDelay: Bool = true
    /// TCP keep-alive probes. Default: off.
    public var keepAlive: KeepAlive?
    /// Bytes that may lie unread in the runtime before it stops receiving. Default 256 KiB. Over Martlet's own stack they lie in the
    /// stack's ring, which ``kernelReceiveBuffer`` bounds.
    public var receiveLimit: Int = 256 * 1024
    /// Bytes that may wait in the runtime before ``TCPConnection/send(_:within:)-(Bytes,_)`` suspends. Default 256 KiB.
    public var sendLimit: Int = 256 * 1024
    /// The kernel's own socket buffers (SO_RCVBUF, SO_SNDBUF) in bytes, or those of Martlet's own stack. Default: they are tuned as the
    /// connection goes.
    public var kernelReceiveBuffer: Int?
    public var kernelSendBuffer: Int?
    /// Which of several cores gets a new connection. Default ``Steering/hash``.
    public var steering: Steering = .hash

    public init() {}

    /// Keep-alive, tcp(7): the first probe after `idle`, then every `interval`, and the end after `count` unanswered.
    public struct KeepAlive: Sendable, Hashable {
        public var idle: Duration
        public var interval: Duration
        public var count: Int

        public init(idle: Duration = .seconds(60), interval: Duration = .seconds(10), count: Int = 6) {
            self.idle = idle
            self.interval = interval
            self.count = count
        }
    }

    /// How the kernel spreads new connections over the cores' listeners.
    public enum Steering: Sendable, Hashable {
        /// By a hash of addresses and ports: even, whatever the network card does.
        case hash
        /// To the core whose CPU received the packet, by a classic BPF program (SO_ATTACH_REUSEPORT_CBPF). This keeps a
        /// connection on one CPU if the card spreads its interrupts over the cores' CPUs. It does harm on loopback,
        /// where the receiving CPU is the client's.
        case receivingCPU
    }
}

/// Which CPUs get a core.
public enum CoreSelection: Sendable, Hashable {
    /// One core on each CPU that the process may use.
    case all
    /// Cores on the first CPUs that the process may use. More cores than CPUs share them, unpinned.
    case count(Int)
    /// Cores on exactly these CPUs.
    case these([Int])
}

/// What a core does when nothing is to be done.
public enum Idle: Sendable, Hashable {
    /// Sleeps in the kernel at once: no CPU is used.
    case sleep
    /// Looks for work for this long before it sleeps: shorter latency for CPU time.
    case spin(for: Duration)
}

/// How the kernel is asked for I/O.
public enum DriverChoice: String, Sendable, Hashable, CaseIterable {
    /// io_uring where the kernel allows it, otherwise epoll. `MARTLET_DRIVER=io_uring|epoll` in the environment decides instead.
    case automatic
    case ioUring = "io_uring"
    case epoll
}

/// Sizes that are fixed when a runtime starts. Running into one is counted and has a defined outcome.
public struct Limits: Sendable, Hashable {
    /// Connections, listeners and datagram sockets on a core. Beyond, new connections stay in the kernel's backlog.
    public var connectionsPerCore: Int = 65_536
    /// Jobs (parts of tasks between two suspensions) in a round, so that completions and timers are never starved.
    public var jobsPerRound: Int = 256
    /// Receive buffers on a core: so many at start …
    public var receiveBuffers: Int = 256
    /// … growing on demand up to this. Beyond, a connection receives only while a task waits for its bytes.
    public var maximumReceiveBuffers: Int = 4096
    /// Bytes of a receive buffer.
    public var receiveBufferSize: Int = 16 * 1024
    /// Send buffers of 16 KiB on a core. Beyond, `send` waits for one.
    public var maximumSendBuffers: Int = 4096
    /// Frames of a core's links, and bytes of each with its headroom. The memory is mapped when a link is opened first.
    public var framesPerCore: Int = 4096
    public var frameCapacity: Int = 2048
    /// io_uring submission and completion queue entries.
    public var submissionEntries: Int = 256
    public var completionEntries: Int = 16_384
    /// A round that takes longer than this counts as a stall: some job holds the core up.
    public var stallThreshold: Duration = .milliseconds(50)

    public init() {}
}
