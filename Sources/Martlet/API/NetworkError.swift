// What a waiting call can throw. A bug in the caller is a precondition, a strange packet a counter: neither is here.

internal import Glibc

/// Why an operation on a listener, connection or socket failed.
///
/// One word in size: each task frame that may throw keeps room for one.
public indirect enum NetworkError: Error, Hashable, Sendable {
    /// The waiting task was cancelled. The connection is as it was: no received byte is lost.
    case cancelled
    /// The call's own `within:` passed. The connection is as it was: no received byte is lost.
    case deadlineExceeded
    /// The peer reset the connection (RST).
    case reset
    /// This side closed or aborted the connection, or finished sending and then sent.
    case closed
    /// The connection did nothing for its idle timeout, or did not send its first byte in time, and was reset.
    case idleTimeout
    /// The peer took no data for the write timeout, or the last data could not be delivered within the close timeout.
    case writeTimeout
    /// The network gave up on the peer (ETIMEDOUT).
    case timedOut
    /// Nobody listens at that address.
    case connectionRefused(SocketAddress)
    /// No route leads to that address.
    case unreachable(SocketAddress)
    /// Somebody else is bound to that address.
    case addressInUse(SocketAddress)
    /// The address is not one of this machine's.
    case addressNotAvailable(SocketAddress)
    /// The process may not bind or reach that address. Ports below 1024 need CAP_NET_BIND_SERVICE.
    case permissionDenied(SocketAddress)
    /// The text is not an address, or the address cannot be used here.
    case invalidAddress(String)
    /// The name does not resolve. `reason` is the resolver's.
    case nameNotFound(String, reason: String)
    /// The process or the machine has no file descriptors left. Raise `ulimit -n`.
    case outOfDescriptors
    /// A table that is sized at start is full. Raise the limit of that name in ``Limits``.
    case limitReached(String)
    /// An interface's link could not be opened.
    case link(LinkError)
    /// The runtime is shutting down.
    case shuttingDown
    /// Any other failure of the operating system.
    case system(errno: Int32, during: String)
}

extension NetworkError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .cancelled: "the operation was cancelled"
        case .deadlineExceeded: "the operation did not finish within its deadline"
        case .reset: "the peer reset the connection"
        case .closed: "the connection is closed on this side"
        case .idleTimeout: "the connection was idle for too long and was reset"
        case .writeTimeout: "the peer took no data for too long and the connection was reset"
        case .timedOut: "the peer stopped answering"
        case .connectionRefused(let address): "nobody listens at \(address)"
        case .unreachable(let address): "no route to \(address)"
        case .addressInUse(let address): "\(address) is in use by another socket: stop it, or choose another port"
        case .addressNotAvailable(let address): "\(address) is not an address of this machine"
        case .permissionDenied(let address):
            "no permission for \(address): ports below 1024 need CAP_NET_BIND_SERVICE, or choose a port from 1024 up"
        case .invalidAddress(let text): "'\(text)' is not an address: write HOST:PORT, [IPV6]:PORT or unix:PATH"
        case .nameNotFound(let name, let reason): "'\(name)' does not resolve: \(reason)"
        case .outOfDescriptors: "no file descriptors are left: raise the limit with 'ulimit -n'"
        case .limitReached(let limit): "the limit '\(limit)' is reached: raise it in the runtime's configuration"
        case .link(let error): error.description
        case .shuttingDown: "the runtime is shutting down"
        case .system(let errno, let operation):
            "\(operation) failed: \(unsafe String(cString: strerror(errno))) (errno \(errno))"
        }
    }
}

extension NetworkError {
    /// The error for a failed system call on an address.
    init(errno: Int32, address: SocketAddress, during operation: String) {
        switch errno {
        case EADDRINUSE: self = .addressInUse(address)
        case EADDRNOTAVAIL: self = .addressNotAvailable(address)
        case EACCES, EPERM: self = .permissionDenied(address)
        case ECONNREFUSED: self = .connectionRefused(address)
        // connect(2) to a path where no socket is. bind(2) says the same of a folder that is not there.
        case ENOENT where operation == "connect": self = .connectionRefused(address)
        case ENETUNREACH, EHOSTUNREACH: self = .unreachable(address)
        case EAFNOSUPPORT, EINVAL: self = .invalidAddress(address.description)
        default: self = NetworkError(errno: errno, during: operation)
        }
    }

    init(errno: Int32, during operation: String) {
        switch errno {
        case ECONNRESET, EPIPE, ECONNABORTED: self = .reset
        case ETIMEDOUT: self = .timedOut
        case EMFILE, ENFILE: self = .outOfDescriptors
        case ECANCELED: self = .cancelled
        default: self = .system(errno: errno, during: operation)
        }
    }
}
