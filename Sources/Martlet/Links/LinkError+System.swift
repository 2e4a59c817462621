// What the kernel says when a link is opened, in words that say what to do.

internal import Glibc

extension LinkError {
    /// The error for a failed call. `result` is -errno; `privilege` is what the call needs.
    init(_ result: Int32, link: String, during call: String, privilege: String) {
        switch -result {
        case EPERM, EACCES: self = .missingPrivilege(link: link, privilege: privilege, during: call)
        case ENODEV, ENXIO: self = .noSuchInterface(link: link)
        case EBUSY: self = .queueInUse(link: link)
        default: self = .system(link: link, errno: -result, during: call)
        }
    }
}
