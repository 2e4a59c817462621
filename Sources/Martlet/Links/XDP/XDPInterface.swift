// An interface as all XDP links of a process see it: one program, one map from its queues to their sockets.

internal import CMartlet
internal import Glibc
internal import Synchronization

/// The program and the map of one interface. The links of its queues share it, and the last one takes the program away.
///
/// The program hangs on a descriptor (`BPF_LINK_CREATE`), which closes with the process: a killed process leaves nothing behind.
public final class XDPInterface: Sendable {
    /// The name that ip-link(8) shows.
    public let name: String
    let index: UInt32
    /// Queues that frames arrive by; nil if the driver does not say.
    public let queueCount: Int?
    let options: XDPOptions
    /// The map from queues to sockets, as a descriptor: for a process without privileges, together with ``makeSocket()``.
    public let map: Int32
    private let program: Int32
    private let attached = Mutex<Attached?>(nil)

    private struct Attached {
        var descriptor: Int32
        var isNative: Bool
    }

    /// The interface, as it is open already in this process or opened now. Its program is attached with the first link, or with
    /// ``attach()``.
    ///
    /// - Throws: ``LinkError``, if there is no such interface, privileges lack, or it is open with other options.
    public static func open(_ name: String, options: XDPOptions) throws(LinkError) -> XDPInterface {
        try open(name, options, for: "xdp:\(name)")
    }

    static func open(_ name: String, _ options: XDPOptions, for link: String) throws(LinkError) -> XDPInterface {
        let seen = try look(at: name, link: link)
        let differs = "it is open in this process with other steering or attachment: an interface has one program"
        let key = Key(namespace: martlet_network_namespace(), index: seen.index)
        let result = openInterfaces.withLock { interfaces -> Result<XDPInterface, LinkError> in
            interfaces = interfaces.filter { $0.value.interface != nil }
            if let interface = interfaces[key]?.interface {
                let isSame =
                    interface.options.steering == options.steering && interface.options.attachment == options.attachment
                return isSame ? .success(interface) : .failure(.invalid(link: link, reason: differs))
            }
            return Result { () throws(LinkError) in
                let interface = try XDPInterface(name, seen, options)
                interfaces[key] = Weak(interface: interface)
                return interface
            }
        }
        return try result.get()
    }

    private init(_ name: String, _ seen: martlet_interface, _ options: XDPOptions) throws(LinkError) {
        self.name = name
        self.options = options
        index = seen.index
        queueCount = seen.receive_queues == 0 ? nil : Int(seen.receive_queues)
        let map = martlet_bpf_socket_map(UInt32(queueCount ?? 64))
        try Self.check(map, "a BPF map", "xdp:\(name)")
        let code = options.steering.map { XDPProgram.steered($0, map: map) } ?? XDPProgram.wholeInterface(map: map)
        do throws(LinkError) {
            program = try Self.load(code, for: "xdp:\(name)")
        } catch {
            _ = martlet_close(map)
            throw error
        }
        self.map = map
    }

    deinit {
        attached.withLock { if let attached = $0 { _ = martlet_close(attached.descriptor) } }
        _ = martlet_close(program)
        _ = martlet_close(map)
    }

    /// A socket for a link of a process without privileges, to whom it and ``map`` are to be passed (unix(7), `SCM_RIGHTS`). It is
    /// the caller's, and bound to nothing yet.
    ///
    /// - Throws: ``LinkError/missingPrivilege(link:privilege:during:)`` without CAP_NET_RAW.
    public func makeSocket() throws(LinkError) -> Int32 { try XDPSocket.open(for: "xdp:\(name)") }

    /// Attaches the program now, for as long as this value lives. Frames of queues that have no link go to the kernel.
    ///
    /// - Throws: ``LinkError``, among others if the interface has another program.
    public func attach() throws(LinkError) {
        let result = attached.withLock { attached -> Result<Void, LinkError> in
            Result { () throws(LinkError) in if attached == nil { attached = try self.makeAttachment() } }
        }
        try result.get()
    }

    /// Whether the program runs in the driver; nil before it is attached.
    public var isNative: Bool? { attached.withLock { $0?.isNative } }

    private func makeAttachment() throws(LinkError) -> Attached {
        func attempt(_ mode: Int) -> Int32 {
            XDPSocket.retryingWhileBusy { martlet_bpf_attach_xdp(program, index, UInt32(mode)) }
        }
        var isNative = options.attachment != .generic
        var result = attempt(isNative ? MARTLET_XDP_NATIVE : MARTLET_XDP_GENERIC)
        // What a driver cannot do it says in many ways: too large an MTU, too few queues, no peer.
        if result < 0, options.attachment == .automatic, ![EBUSY, EEXIST, EPERM, ENODEV].contains(-result) {
            isNative = false
            result = attempt(MARTLET_XDP_GENERIC)
        }
        switch -result {
        case EBUSY, EEXIST:
            let reason = """
                another XDP program is attached to \(name): stop the program that has it (`bpftool net` shows which), or remove it \
                with `ip link set dev \(name) xdp off`
                """
            throw .invalid(link: "xdp:\(name)", reason: reason)
        case ENODEV: throw .noSuchInterface(link: "xdp:\(name)")
        case EINVAL where !isNative:
            throw .unsupported(link: "xdp:\(name)", what: "BPF_LINK_CREATE", remedy: XDPSocket.newKernel)
        default: try Self.check(result, "attaching an XDP program", "xdp:\(name)")
        }
        return Attached(descriptor: result, isNative: isNative)
    }

    static func load(_ code: [martlet_bpf_instruction], for link: String) throws(LinkError) -> Int32 {
        let program = unsafe code.withUnsafeBufferPointer {
            unsafe martlet_bpf_load_xdp($0.baseAddress, UInt32($0.count), nil, 0)
        }
        if program >= 0 { return program }
        if program == -EPERM {
            throw .missingPrivilege(link: link, privilege: xdpPrivileges, during: "loading an XDP program")
        }
        // Once more, for what the verifier has to say.
        var log = [CChar](repeating: 0, count: 65_536)
        _ = unsafe code.withUnsafeBufferPointer { code in
            unsafe log.withUnsafeMutableBufferPointer {
                unsafe martlet_bpf_load_xdp(code.baseAddress, UInt32(code.count), $0.baseAddress, UInt32($0.count))
            }
        }
        let text = String(decoding: log.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        throw .system(link: link, errno: -program, during: "loading an XDP program (the verifier says: \(text))")
    }

    private static func check(_ result: Int32, _ operation: String, _ link: String) throws(LinkError) {
        switch -result {
        case EPERM, EACCES: throw .missingPrivilege(link: link, privilege: xdpPrivileges, during: operation)
        case _ where result < 0: throw .system(link: link, errno: -result, during: operation)
        default: break
        }
    }

    /// What the interface is now, in the namespace of the calling thread.
    static func look(at name: String, link: String) throws(LinkError) -> martlet_interface {
        var seen = martlet_interface()
        let result = unsafe martlet_interface_look(-1, name, &seen)
        if result == -ENODEV { throw .noSuchInterface(link: link) }
        if result < 0 { throw .system(link: link, errno: -result, during: "looking at the interface") }
        return seen
    }
}

/// The same name or number means another interface in another network namespace.
private struct Key: Hashable {
    var namespace: UInt64
    var index: UInt32
}

private struct Weak {
    weak var interface: XDPInterface?
}

private let openInterfaces = Mutex<[Key: Weak]>([:])
