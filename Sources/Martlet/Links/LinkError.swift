// What opening a link, or waiting for one, can throw. A frame that is lost is a counter and throws nothing.

internal import Glibc

/// Why a link could not be opened, or why waiting for it ended.
///
/// Every description says what to do about it. One word in size.
public indirect enum LinkError: Error, Hashable, Sendable {
    /// The waiting task was cancelled. No frame is lost.
    case cancelled
    /// The time to wait is up. No frame is lost.
    case deadlineExceeded
    /// The interface is down.
    case down(link: String)
    /// The interface, or the other end, is gone.
    case gone(link: String)
    /// There is no interface of that name.
    case noSuchInterface(link: String)
    /// The text does not name a link, or the options do not go together.
    case invalid(link: String, reason: String)
    /// The process lacks a privilege, such as `CAP_NET_ADMIN`.
    case missingPrivilege(link: String, privilege: String, during: String)
    /// Somebody else has that queue.
    case queueInUse(link: String)
    /// The limit of locked memory is too low for what was asked for, in bytes.
    case lockedMemoryLimit(link: String, needed: UInt64, limit: UInt64)
    /// There is not so much memory.
    case outOfMemory(bytes: Int)
    /// The kernel, or the interface's driver, cannot do that. `remedy` says what can be done.
    case unsupported(link: String, what: String, remedy: String)
    /// A filter cannot be used.
    case invalidFilter(reason: String)
    /// Any other failure of the operating system.
    case system(link: String, errno: Int32, during: String)
}

extension LinkError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .cancelled: "the operation was cancelled"
        case .deadlineExceeded: "the link was not ready within its deadline"
        case .down(let link): "\(link) is down: bring it up with `ip link set <interface> up`"
        case .gone(let link): "\(link) is gone: open it again when it is back"
        case .noSuchInterface(let link): "\(link): there is no such interface; `ip link` lists those of this namespace"
        case .invalid(let link, let reason): "\(link): \(reason)"
        case .missingPrivilege(let link, let privilege, let call):
            "\(link): \(call) needs \(privilege): run as root, or give the program the capability with "
                + "`setcap \(privilege.lowercased())+ep <program>`"
        case .queueInUse(let link):
            "\(link): another process has this queue: stop it, or choose another queue"
        case .lockedMemoryLimit(let link, let needed, let limit):
            "\(link): \(needed) bytes of locked memory are needed and the limit is \(limit): raise it with "
                + "`ulimit -l \((needed + 1023) / 1024)`, or LimitMEMLOCK= in a systemd unit, or use fewer frames"
        case .outOfMemory(let bytes): "there are no \(bytes) bytes of memory for frames: use fewer or smaller ones"
        case .unsupported(let link, let what, let remedy): "\(link): \(what) is not supported: \(remedy)"
        case .invalidFilter(let reason): "the filter cannot be used: \(reason)"
        case .system(let link, let errno, let call):
            "\(link): \(call) failed: \(unsafe String(cString: strerror(errno)))"
        }
    }
}
