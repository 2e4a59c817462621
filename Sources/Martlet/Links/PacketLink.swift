// AF_PACKET: an interface of the kernel's, beside the kernel. What it receives the kernel receives too, and what is transmitted
// leaves by it. Hold packet(7) and the kernel's Documentation/networking/packet_mmap.rst beside it.
//
//     receive ring  │ kernel's │ ours: next ▶ │ ours │ kernel's … │     TPACKET_V2: a frame a place, or
//                                                                     TPACKET_V3: a block of many frames
//     transmit ring │ free │ free: next ▶ │ free │ being sent … │     a frame a place, one sendto(2) a burst
//
// A virtio-net header goes before each frame both ways. Received frames say by it which checksums nobody has filled in. Of
// frames that are transmitted it tells the kernel how many bytes to copy: with the whole of a small frame copied, and no page
// of the ring referred to, frames of 64 bytes over veth went at 0.80–0.93 million a second instead of 0.57–0.76 without it
// (sendmmsg(2): 0.57–0.85).

internal import CMartlet
internal import Glibc
internal import MartletStack

/// A packet socket on an interface, with rings that it shares with the kernel. It needs `CAP_NET_RAW`.
///
/// The kernel's own stack sees the same frames, and answers those that are for its addresses. Use addresses that it does not
/// have, or a filter of the kernel's (`nft`) for those that it has.
@safe
public struct PacketLink: Link, ~Copyable {
    public private(set) var name: String
    public internal(set) var properties: LinkProperties
    public internal(set) var state = LinkState.up
    public var counters = LinkCounters()

    let options: Options
    /// The interface's index, which is its own for as long as it lives; its name is not.
    private let interface: UInt32
    // SAFETY: the rings are mapped in the initialiser and unmapped in the deinit. The kernel and this link pass each place to
    // one another by its status word, with release and acquire; a place is touched only by whom it belongs to.
    let socket: martlet_packet
    let frameSize: Int
    let blockSize: Int
    /// Places, or blocks, of the receive ring.
    let receiveCount: Int
    let transmitCount: Int

    /// The next place, or block, to be received from.
    var receiveNext = 0
    /// What is left of the block that is being received from.
    var blockLeft = 0
    var blockOffset = 0
    /// The next place to transmit from.
    var transmitNext = 0
    /// Something is marked that the kernel has not come to.
    var isOwing = false

    /// Opens a packet socket on the interface `device`.
    public init(_ device: String, options: Options = Options()) throws(LinkError) {
        let link = "packet:" + device
        var found = martlet_interface()
        let result = unsafe martlet_interface_look(-1, device, &found)
        guard result == 0 else {
            throw LinkError(result, link: link, during: "SIOCGIFINDEX", privilege: "CAP_NET_RAW")
        }
        let sizes = try Sizes(options, mtu: Int(found.mtu), link: link)
        unsafe socket = try PacketLink.open(options, sizes, interface: found.index, link: link)
        self.options = options
        name = link
        interface = found.index
        (frameSize, blockSize) = (sizes.frame, sizes.block)
        receiveCount =
            options.receives ? (options.receivesBlocks ? sizes.blocks : sizes.blocks * sizes.framesPerBlock) : 0
        transmitCount = options.transmits ? sizes.transmitBlocks * sizes.framesPerBlock : 0
        let address = found.address
        properties = LinkProperties(
            mtu: Int(found.mtu),
            macAddress: MACAddress(address.0, address.1, address.2, address.3, address.4, address.5),
            capabilities: [.virtioHeader, .receiveChecksum, .transmitChecksum, .segmentation])
        if options.timestamps { properties.capabilities.insert(.timestamps) }
        state = found.is_up && found.is_running ? .up : .down
    }

    private static func open(_ options: Options, _ sizes: Sizes, interface: UInt32, link: String) throws(LinkError)
        -> martlet_packet
    {
        var wanted = martlet_packet_options()
        wanted.interface = interface
        wanted.blocks = options.receivesBlocks
        wanted.block_size = UInt32(sizes.block)
        wanted.block_count = options.receives ? UInt32(sizes.blocks) : 0
        wanted.frame_size = UInt32(sizes.frame)
        wanted.block_timeout_ms = UInt32(max(1, options.blockTimeout.nanoseconds / 1_000_000))
        wanted.transmit_blocks = options.transmits ? UInt32(sizes.transmitBlocks) : 0
        wanted.bypass_queueing = options.bypassesQueueing
        wanted.ignore_outgoing = options.ignoresOutgoing
        wanted.promiscuous = options.isPromiscuous
        wanted.fanout_group = -1
        if let fanout = options.fanout {
            wanted.fanout_group = Int32(fanout.group)
            wanted.fanout_mode = fanout.mode.number
            wanted.fanout_defragment = fanout.keepsFragmentsTogether
        }
        var opened = unsafe martlet_packet()
        var step = MARTLET_PACKET_SOCKET
        let instructions = options.filter?.kernelInstructions ?? []
        let result = unsafe instructions.withUnsafeBufferPointer { program in
            unsafe martlet_packet_open(&opened, &wanted, program.baseAddress, UInt16(program.count), &step)
        }
        guard result == 0 else { throw error(result, step, sizes, link: link) }
        return unsafe opened
    }

    private static func error(_ result: Int32, _ step: martlet_packet_step, _ sizes: Sizes, link: String) -> LinkError {
        let calls: [(martlet_packet_step, String)] = [
            (MARTLET_PACKET_SOCKET, "socket(AF_PACKET)"), (MARTLET_PACKET_SETTING, "setsockopt"),
            (MARTLET_PACKET_FILTER, "SO_ATTACH_FILTER"), (MARTLET_PACKET_RING, "PACKET_RX_RING"),
            (MARTLET_PACKET_MAP, "mmap"), (MARTLET_PACKET_BIND, "bind"), (MARTLET_PACKET_FANOUT, "PACKET_FANOUT"),
            (MARTLET_PACKET_PROMISCUOUS, "PACKET_ADD_MEMBERSHIP"),
        ]
        let call = calls.first { $0.0 == step }?.1 ?? "socket(AF_PACKET)"
        switch (step, -result) {
        case (MARTLET_PACKET_RING, ENOMEM), (MARTLET_PACKET_MAP, ENOMEM), (MARTLET_PACKET_MAP, EAGAIN):
            return .outOfMemory(bytes: sizes.block * (sizes.blocks + sizes.transmitBlocks))
        case (MARTLET_PACKET_FANOUT, _):
            return .invalid(
                link: link, reason: "the fanout group cannot be joined: all that are in it must ask for the same mode")
        case (MARTLET_PACKET_FILTER, EINVAL): return .invalidFilter(reason: "the kernel refuses its instructions")
        default: return LinkError(result, link: link, during: call, privilege: "CAP_NET_RAW")
        }
    }

    deinit {
        var socket = unsafe socket
        unsafe martlet_packet_close(&socket)
    }

    // MARK: Waiting

    public mutating func prepareToSleep(for wish: LinkWish) -> LinkSleep {
        guard state != .gone else { return LinkSleep(descriptor: -1, forInput: false) }
        settle()
        if wish.frames > 0, hasFrame { return .ready }
        if wish.room > 0, hasRoom { return .ready }
        // The kernel leaves word of an interface that went down as an error, and poll(2) would return for it for ever.
        if unsafe martlet_packet_error(socket.fd) == ENETDOWN { _ = refresh() }
        guard state != .gone else { return LinkSleep(descriptor: -1, forInput: false) }
        return unsafe LinkSleep(
            descriptor: socket.fd, forInput: wish.frames > 0, forOutput: wish.room > 0,
            deadline: isOwing ? martlet_monotonic_ns() + 1_000_000 : .max)
    }

    public mutating func refresh() -> Bool {
        let before = (properties, state)
        var dropped: UInt32 = 0
        if unsafe martlet_packet_drops(socket.fd, &dropped) == 0 {
            counters.received.drops[.ringFull] += UInt64(dropped)
        }
        var bytes = InlineArray<16, CChar>(repeating: 0)
        let isThere = unsafe bytes.withName { unsafe martlet_packet_interface_name(socket.fd, interface, $0) } == 0
        var found = martlet_interface()
        guard isThere, unsafe martlet_interface_look(socket.fd, bytes.text, &found) == 0, found.index == interface
        else {
            state = .gone
            return before.1 != .gone
        }
        name = "packet:" + bytes.text
        properties.mtu = Int(found.mtu)
        let address = found.address
        properties.macAddress = MACAddress(address.0, address.1, address.2, address.3, address.4, address.5)
        state = found.is_up && found.is_running ? .up : .down
        return before != (properties, state)
    }
}
