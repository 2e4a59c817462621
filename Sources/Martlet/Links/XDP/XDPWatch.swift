// What wakes a core that sleeps on an XDP link: its socket, and what the kernel says about its interface.
//
// An AF_XDP socket is silent when its interface goes down or away, so rtnetlink(7) is listened to as well. An epoll descriptor
// stands for the two, because a link has one descriptor to be polled.
//
// Whoever watches a socket is told of each frame that comes, and of each that has been sent, at the frame's expense: 90 ns of 970 on
// a veth. So the socket is watched from the first sleep on until the link has been called so often without one that it is busy.

internal import CMartlet
internal import Glibc

struct XDPWatch: ~Copyable {
    /// Readable when frames have arrived, or the interface has changed; and when there is room, if that is wanted.
    let descriptor: Int32
    private let socket: Int32
    private let netlink: Int32
    private let interface: String
    private let index: UInt32
    /// What the socket is watched for; 0 while it is not.
    private var watched: UInt32 = 0

    init(_ interface: String, index: UInt32, socket: Int32, link: String) throws(LinkError) {
        let (netlink, descriptor) = try Self.open(socket, link)
        self.interface = interface
        self.index = index
        self.socket = socket
        self.netlink = netlink
        self.descriptor = descriptor
    }

    private static func open(_ socket: Int32, _ link: String) throws(LinkError) -> (netlink: Int32, epoll: Int32) {
        let netlink = martlet_interface_watch()
        guard netlink >= 0 else { throw .system(link: link, errno: -netlink, during: "listening to rtnetlink") }
        let epoll = martlet_epoll_create()
        var result = epoll
        if result >= 0 { result = martlet_epoll_add(epoll, netlink, 1, 0) }
        // It is seen here that it can be watched, and not at the first sleep.
        if result >= 0 { result = martlet_epoll_add(epoll, socket, 0, 0) }
        if result >= 0 { result = martlet_epoll_remove(epoll, socket) }
        if result >= 0 { return (netlink, epoll) }
        _ = martlet_close(netlink)
        if epoll >= 0 { _ = martlet_close(epoll) }
        throw .system(link: link, errno: -result, during: "watching the socket")
    }

    deinit {
        _ = martlet_close(descriptor)
        _ = martlet_close(netlink)
    }

    /// Watches the socket for frames, and for room in the transmit ring if that is wanted. Returns whether it is watched: the kernel
    /// may have no memory for it.
    mutating func watchSocket(forRoom isRoomWanted: Bool) -> Bool {
        let wanted = UInt32(MARTLET_EPOLL_READABLE | (isRoomWanted ? MARTLET_EPOLL_WRITABLE : 0))
        if watched == wanted { return true }
        if watched == 0, martlet_epoll_add(descriptor, socket, 0, 0) < 0 { return false }
        guard martlet_epoll_modify(descriptor, socket, 0, wanted) >= 0 else { return false }
        watched = wanted
        return true
    }

    mutating func unwatchSocket() {
        guard watched != 0 else { return }
        _ = martlet_epoll_remove(descriptor, socket)
        watched = 0
    }

    /// Room, of which there mostly is some, would wake a core that does not wait for it.
    mutating func forgetRoom() {
        if watched & UInt32(MARTLET_EPOLL_WRITABLE) != 0 { _ = watchSocket(forRoom: false) }
    }

    enum Change {
        case none
        case changed
        case removed
    }

    /// What has been said about the interface since this was last asked.
    func changes() -> Change {
        switch Int(martlet_interface_changes(netlink, index)) {
        case MARTLET_INTERFACE_CHANGED: .changed
        case MARTLET_INTERFACE_REMOVED: .removed
        default: .none
        }
    }

    /// What the interface is, in the namespace in which it was opened; nil if it is gone. Another one of the same name is another.
    func look() -> martlet_interface? {
        var seen = martlet_interface()
        guard unsafe martlet_interface_look(netlink, interface, &seen) == 0, seen.index == index else { return nil }
        return seen
    }
}
