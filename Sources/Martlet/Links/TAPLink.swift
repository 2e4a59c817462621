// TAP and TUN: an interface of the kernel's whose other side is this process. Hold the kernel's Documentation/networking/tuntap.rst
// beside it, and virtio 1.2 §5.1.6 for the header before each frame.
//
//     program ── transmit ──▶ write(2) ──▶ the kernel receives on tap0
//     program ◀── receive ── read(2) ◀──── the kernel sends through tap0
//
// The device has one call a frame. What can be shared is the way into the kernel: a burst goes through a small io_uring of the
// link's own. Measured with frames of 64 bytes on one CPU of a virtual AMD EPYC, Linux 6.18, in million frames a second:
//
//                       one call a frame      batches of 32
//     transmit                0.94                1.49
//     receive                 0.89                1.09
//
// A batch of reads that finds nothing costs a read each, so its size follows what came before.

internal import CMartlet
internal import Glibc
public import MartletStack

/// A queue of a TAP or TUN device.
///
/// A new device needs `CAP_NET_ADMIN`, one that was made persistent for this user (`ip tuntap add mode tap user NAME`) nothing.
/// It carries frames once somebody has set it up: `ip link set tap0 up`.
@safe
public struct TAPLink: Link, ~Copyable {
    /// What a device is and does.
    public struct Options: Sendable, Hashable {
        /// How frames get into the kernel.
        public enum Batches: Sendable, Hashable {
            /// By io_uring if the kernel allows it.
            case automatic
            /// By io_uring, or not at all.
            case ioUring
            /// By a call for each frame.
            case calls
        }

        /// Whole frames with an Ethernet header (TAP), or bare IP packets (TUN).
        public var medium = LinkProperties.Medium.ethernet
        /// The device has several queues, and this is one of them: flows stay with theirs. All that open it must say so.
        public var isMultiqueue = false
        /// A virtio-net header goes with each frame, which leaves checksums to the other side, and cutting large segments.
        public var isVirtio = true
        /// The kernel may hand over segments of up to 64 KiB. Frames need room for 65,549 bytes then.
        public var receivesLargeSegments = false
        /// The device stays when its last queue is closed.
        public var isPersistent = false
        /// The user who may open the device without privileges.
        public var owner: UInt32?
        public var batches = Batches.automatic

        public init() {}
    }

    public private(set) var name: String
    public private(set) var properties: LinkProperties
    public private(set) var state = LinkState.up
    public var counters = LinkCounters()
    /// Whether bursts go through io_uring.
    public var isBatched: Bool { unsafe batch != nil }

    private let options: Options
    private let descriptor: Int32
    /// A socket in the namespace that the device was opened in, to ask for its MTU and state.
    private let control: Int32
    // SAFETY: both are made in the initialiser and freed in the deinit. The batch never outlasts a call, so the kernel holds no
    // address of a frame between two of them.
    private let batch: OpaquePointer?
    private let scratch: UnsafeMutablePointer<Scratch>
    /// Frames that the next batch of reads asks for.
    private var expected = 1
    private var isFull = false

    /// What a batch is made of. In memory of its own, so that nothing is allocated or cleared for a batch.
    @safe
    private struct Scratch {
        var pieces = unsafe InlineArray<128, iovec>(repeating: iovec())
        var results = InlineArray<128, Int32>(repeating: 0)
        var descriptors = InlineArray<128, FrameDescriptor>(repeating: FrameDescriptor())
        /// The header of a frame that has no room for it in front, and the frame.
        var bounce: UnsafeMutableRawPointer
    }

    /// A batch of fewer frames than this is cheaper by single calls.
    private static var smallestBatch: Int { 4 }
    private static var bounceSize: Int { martlet_virtio_header.length + martlet_virtio_header.largestPacket + 18 }

    /// Opens a queue of the device `device`, and makes the device if there is none.
    ///
    /// A `device` such as `tap%d` lets the kernel number it: ``name`` says what it became.
    public init(_ device: String, options: Options = Options()) throws(LinkError) {
        let prefix = options.medium == .ethernet ? "tap:" : "tun:"
        let opened = unsafe try TAPLink.open(device, options, link: prefix + device)
        self.options = options
        name = unsafe prefix + opened.name
        descriptor = unsafe opened.descriptor
        control = socket(AF_INET, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        unsafe batch = opened.batch
        unsafe scratch = .allocate(capacity: 1)
        unsafe scratch.initialize(
            to: Scratch(bounce: .allocate(byteCount: TAPLink.bounceSize, alignment: 16)))
        var capabilities: LinkCapabilities = []
        if options.isVirtio {
            capabilities = [.virtioHeader, .receiveChecksum, .transmitChecksum, .segmentation]
            if options.receivesLargeSegments { capabilities.insert(.coalescing) }
        }
        properties = LinkProperties(medium: options.medium, capabilities: capabilities)
        _ = refresh()
    }

    private static func open(_ device: String, _ options: Options, link: String) throws(LinkError) -> (
        name: String, descriptor: Int32, batch: OpaquePointer?
    ) {
        let wanted = martlet_tun_options(
            ethernet: options.medium == .ethernet, multiqueue: options.isMultiqueue, virtio: options.isVirtio)
        var bytes = InlineArray<16, CChar>(repeating: 0)
        let descriptor = unsafe bytes.withName { unsafe martlet_tun_open(device, wanted, $0) }
        guard descriptor >= 0 else { throw error(descriptor, options, link: link) }
        var result: Int32 = 0
        if options.isVirtio {
            result = martlet_tun_set_offload(descriptor, true, options.receivesLargeSegments, false)
        }
        if result == 0, let owner = options.owner { result = martlet_tun_set_owner(descriptor, owner) }
        if result == 0, options.isPersistent { result = martlet_tun_set_persistent(descriptor, true) }
        guard result == 0 else {
            _ = martlet_close(descriptor)
            throw error(result, options, link: link)
        }
        let batch = unsafe options.batches == .calls ? nil : martlet_batch_open(descriptor)
        if unsafe options.batches == .ioUring && batch == nil {
            _ = martlet_close(descriptor)
            throw .unsupported(
                link: link, what: "io_uring", remedy: "see kernel.io_uring_disabled, or take .automatic or .calls")
        }
        return unsafe (bytes.text, descriptor, batch)
    }

    private static func error(_ result: Int32, _ options: Options, link: String) -> LinkError {
        switch -result {
        case ENOENT, ENODEV, ENXIO:
            return .unsupported(
                link: link, what: "/dev/net/tun",
                remedy: "as root: modprobe tun; in a container: --device /dev/net/tun --cap-add NET_ADMIN")
        case ENAMETOOLONG: return .invalid(link: link, reason: "an interface's name has 15 bytes at most")
        case EINVAL:
            return .invalid(
                link: link,
                reason:
                    "an interface of that name is none that can be opened as \(options.isMultiqueue ? "one of " : "")"
                    + (options.medium == .ethernet ? "a TAP" : "a TUN")
                    + (options.isMultiqueue ? "'s several queues" : " with one queue"))
        default: return LinkError(result, link: link, during: "TUNSETIFF", privilege: "CAP_NET_ADMIN")
        }
    }

    deinit {
        if let batch = unsafe batch { unsafe martlet_batch_close(batch) }
        unsafe scratch.pointee.bounce.deallocate()
        unsafe scratch.deallocate()
        _ = martlet_close(control)
        _ = martlet_close(descriptor)
    }

    /// Bytes before each frame.
    private var prefix: Int { options.isVirtio ? martlet_virtio_header.length : 0 }

    private var smallestFrame: Int { options.medium == .ethernet ? 14 : 20 }

    // MARK: Receiving

    public mutating func receive(into burst: inout Burst) -> Int {
        guard state != .gone else { return 0 }
        var received = 0
        while burst.room > 0 {
            let wanted = min(burst.room, expected, Int(MARTLET_BATCH_ENTRIES))
            let (asked, read, kept) = receive(wanted, into: &burst)
            received += kept
            // Fewer than were asked for: the device has no more, or the pool.
            guard read == asked, asked == wanted else {
                expected = max(1, read)
                break
            }
            expected = min(expected &* 2, Int(MARTLET_BATCH_ENTRIES))
        }
        return received
    }

    /// Asks for frames once. Returns how many were asked for, were there, and are in the burst now.
    private mutating func receive(_ wanted: Int, into burst: inout Burst) -> (asked: Int, read: Int, kept: Int) {
        let start = max(burst.frameHeadroom, prefix)
        let room = burst.frameCapacity - start
        let (arena, capacity) = unsafe (burst.arena, burst.frameCapacity)
        let scratch = unsafe scratch
        let asked = unsafe scratch.pointee.descriptors.withUnsafePlaces(wanted) {
            unsafe burst.takeDescriptors(into: $0)
        }
        for index in 0..<asked {
            let slot = unsafe Int(scratch.pointee.descriptors[index].slot)
            unsafe scratch.pointee.pieces[index] = iovec(
                iov_base: arena + (slot * capacity + start - prefix), iov_len: room + prefix)
        }
        transfer(asked, isWriting: false)
        var (read, kept) = (0, 0)
        for index in 0..<asked {
            let result = unsafe Int(scratch.pointee.results[index])
            var descriptor = unsafe scratch.pointee.descriptors[index]
            if result > 0 { read += 1 } else if result == -Int(EBADFD) { state = .gone }
            descriptor.start = UInt16(start)
            let isWhole =
                unsafe result > 0 && finish(&descriptor, length: result - prefix, room: room, arena: arena, capacity)
            guard isWhole else {
                unsafe burst.releaseSlot(descriptor.slot)
                continue
            }
            unsafe scratch.pointee.descriptors[kept] = descriptor
            kept += 1
        }
        _ = unsafe burst.appendDescriptors(kept) { places in
            for index in 0..<kept { unsafe places[index] = scratch.pointee.descriptors[index] }
            return kept
        }
        return (asked, read, kept)
    }

    /// Describes a frame that was read. False if it has to be dropped.
    private mutating func finish(
        _ descriptor: inout FrameDescriptor, length: Int, room: Int, arena: UnsafeMutableRawPointer, _ capacity: Int
    ) -> Bool {
        // The device cuts what there is no room for, without a word.
        guard length < room else {
            counters.received.drops[.oversize] += 1
            return false
        }
        guard length >= smallestFrame else {
            counters.received.drops[.runt] += 1
            return false
        }
        descriptor.length = UInt32(length)
        if options.isVirtio {
            let header = unsafe (arena + (Int(descriptor.slot) * capacity + Int(descriptor.start) - prefix))
                .loadUnaligned(as: martlet_virtio_header.self)
            guard header.describe(&descriptor, length: length) else {
                counters.received.drops[.malformed] += 1
                return false
            }
        }
        counters.received.count(1, bytes: length)
        return true
    }

    // MARK: Transmitting

    public mutating func transmit(_ burst: inout Burst) -> Int {
        var taken = 0
        isFull = false
        while !burst.isEmpty, !isFull {
            if state == .gone {
                counters.transmitted.drops[.linkDown] += UInt64(burst.count)
                taken += burst.count
                burst.removeAll()
                break
            }
            taken += transmitSome(&burst)
        }
        return taken
    }

    /// Transmits a batch from the beginning of the burst. Returns how many frames were taken.
    private mutating func transmitSome(_ burst: inout Burst) -> Int {
        let (arena, capacity) = unsafe (burst.arena, burst.frameCapacity)
        let scratch = unsafe scratch
        let (prefix, properties, isVirtio) = (prefix, properties, options.isVirtio)
        let (smallest, largest) = (smallestFrame, properties.largestFrame)
        var drop: LinkDrop?
        let count = unsafe burst.withDescriptors { frames in
            let count = min(frames.count, Int(MARTLET_BATCH_ENTRIES))
            for index in 0..<count {
                let frame = unsafe frames[index]
                let start = unsafe arena + (Int(frame.slot) * capacity + Int(frame.start))
                let length = Int(frame.length)
                let packet = unsafe RawSpan(_unsafeStart: start, byteCount: length)
                guard length >= smallest else {
                    drop = .runt
                    return index
                }
                guard length <= (isVirtio && frame.segmentSize > 0 ? martlet_virtio_header.largestPacket + 18 : largest)
                else {
                    drop = .oversize
                    return index
                }
                var piece = unsafe iovec(iov_base: start - prefix, iov_len: length + prefix)
                if isVirtio {
                    guard let header = martlet_virtio_header(finishing: packet, frame, medium: properties.medium) else {
                        drop = .malformed
                        return index
                    }
                    guard frame.start >= prefix else {
                        // No room in front: such a frame goes alone, from the bounce buffer.
                        guard index == 0 else { return index }
                        unsafe scratch.pointee.bounce.storeBytes(of: header, as: martlet_virtio_header.self)
                        unsafe (scratch.pointee.bounce + prefix).copyMemory(from: start, byteCount: length)
                        unsafe piece.iov_base = scratch.pointee.bounce
                        unsafe scratch.pointee.pieces[0] = piece
                        return 1
                    }
                    unsafe (start - prefix).storeBytes(of: header, as: martlet_virtio_header.self)
                }
                unsafe scratch.pointee.pieces[index] = piece
            }
            return count
        }
        transfer(count, isWriting: true)
        // A frame that did not go may be tried again, but not if a later one has gone already: order matters more than one frame.
        var lastSent = count - 1
        while lastSent >= 0, unsafe scratch.pointee.results[lastSent] < 0 { lastSent -= 1 }
        var (taken, bytes, sent) = (0, 0, 0)
        for index in 0..<count {
            let result = unsafe scratch.pointee.results[index]
            if result < 0 && !note(result) {
                guard index < lastSent else { break }
                counters.transmitted.drops[.ringFull] += 1
            }
            taken += 1
            guard result >= 0 else { continue }
            sent += 1
            bytes += Int(result) - prefix
        }
        counters.transmitted.count(sent, bytes: bytes)
        if let drop, taken == count, !isFull {
            counters.transmitted.drops[drop] += 1
            taken += 1
        }
        burst.removeFirst(taken)
        return taken
    }

    /// Makes the calls for the first `count` pieces, and leaves their results.
    private mutating func transfer(_ count: Int, isWriting: Bool) {
        // A copy, here and above: Swift 6.3.1 cannot compile a mutation through the member for the thread sanitizer.
        let scratch = unsafe scratch
        unsafe scratch.pointee.pieces.withUnsafePlaces(count) { pieces in
            unsafe scratch.pointee.results.withUnsafePlaces(count) { results in
                guard let first = pieces.baseAddress, let result = results.baseAddress else { return }
                if count >= TAPLink.smallestBatch, let batch = unsafe batch {
                    let status =
                        unsafe isWriting
                        ? martlet_batch_write(batch, first, Int32(count), result)
                        : martlet_batch_read(batch, first, Int32(count), result)
                    if status == 0 { return }
                }
                for index in 0..<count {
                    let piece = unsafe pieces[index]
                    let done =
                        unsafe isWriting
                        ? martlet_tun_write(descriptor, piece.iov_base, piece.iov_len)
                        : martlet_tun_read(descriptor, piece.iov_base, piece.iov_len)
                    unsafe results[index] = Int32(truncatingIfNeeded: done)
                    // A later frame must not overtake the one that would have had to wait.
                    if done == -Int(EAGAIN) {
                        for rest in index + 1..<max(index + 1, count) { unsafe results[rest] = -EAGAIN }
                        return
                    }
                }
            }
        }
    }

    /// Takes note of a frame that did not go. Returns whether it is lost; otherwise it may be tried again.
    private mutating func note(_ result: Int32) -> Bool {
        switch -result {
        case EAGAIN, ENOBUFS, ENOMEM:
            isFull = true
            return false
        case EIO:
            state = .down
            counters.transmitted.drops[.linkDown] += 1
        case EBADFD:
            state = .gone
            counters.transmitted.drops[.linkDown] += 1
        case EINVAL, EFAULT: counters.transmitted.drops[.malformed] += 1
        default: counters.transmitted.drops[.refused] += 1
        }
        return true
    }

    // MARK: Waiting

    public mutating func prepareToSleep(for wish: LinkWish) -> LinkSleep {
        guard state != .gone else { return LinkSleep(descriptor: -1, forInput: false) }
        if wish.room > 0, !isFull { return .ready }
        return LinkSleep(descriptor: descriptor, forInput: wish.frames > 0, forOutput: wish.room > 0)
    }

    public mutating func refresh() -> Bool {
        let before = (properties, state)
        var bytes = InlineArray<16, CChar>(repeating: 0)
        let isThere = unsafe bytes.withName { unsafe martlet_tun_name(descriptor, $0) } == 0
        guard isThere else {
            state = .gone
            return before.1 != .gone
        }
        name = (options.medium == .ethernet ? "tap:" : "tun:") + bytes.text
        var found = martlet_interface()
        if unsafe martlet_interface_look(control, bytes.text, &found) == 0 {
            properties.mtu = Int(found.mtu)
            state = found.is_up ? .up : .down
        }
        return before != (properties, state)
    }
}

extension InlineArray where Element == CChar {
    /// The bytes up to the first zero, as an interface's name is kept.
    var text: String {
        var name: [UInt8] = []
        for index in indices where self[index] != 0 { name.append(UInt8(bitPattern: self[index])) }
        return String(decoding: name, as: UTF8.self)
    }

    /// Shows the bytes to a call that writes a name.
    @unsafe
    mutating func withName<Result>(_ body: (UnsafeMutablePointer<CChar>) -> Result) -> Result {
        var span = mutableSpan
        // SAFETY: an inline array that is a name has bytes, so the span has an address.
        return unsafe span.withUnsafeMutableBufferPointer { unsafe body($0.baseAddress.unsafelyUnwrapped) }
    }
}

extension InlineArray {
    /// Shows the first `count` places where they lie.
    @unsafe
    mutating func withUnsafePlaces<Result>(_ count: Int, _ body: (UnsafeMutableBufferPointer<Element>) -> Result)
        -> Result
    {
        var span = mutableSpan
        return unsafe span.withUnsafeMutableBufferPointer { unsafe body($0.extracting(0..<count)) }
    }
}
