// A handshake that a listener has answered and whose last ACK has not come: SYN-RECEIVED without a TCB (RFC 9293 §3.10.7.4,
// RFC 4987 §3.3 and §3.5).
//
// What is kept is what the SYN said, and our number. From that the SYN-ACK is written as often as it is needed, and the TCB is made
// when the ACK comes: it gets the SYN, which is written down again from here, and then the ACK, as if it had been there all along.

/// What is known of a handshake besides its ends. A SYN cookie says the same, but for the window and the user timeout.
struct HalfOpen: BitwiseCopyable {
    struct Flags: OptionSet, BitwiseCopyable {
        var rawValue: UInt8
        /// What the SYN offered.
        static var timestamps: Flags { Flags(rawValue: 1) }
        static var sack: Flags { Flags(rawValue: 2) }
        static var scaled: Flags { Flags(rawValue: 4) }
        /// It asked for marks of congestion, and we take part.
        static var ecn: Flags { Flags(rawValue: 8) }
        /// The SYN-ACK carries a Fast Open cookie.
        static var givesCookie: Flags { Flags(rawValue: 16) }
        /// There is a TCB, or there was one: this only counts it among a listener's Fast Open requests.
        static var fastOpen: Flags { Flags(rawValue: 32) }
    }

    /// ISS and IRS.
    var initialSend: SequenceNumber
    var initialReceive: SequenceNumber
    /// TSval of the SYN, and what our clock is moved by.
    var timestamp: UInt32 = 0
    var timestampOffset: UInt32 = 0
    var answers = LatestAnswer()
    /// The MSS option, and the window field of the SYN.
    var maximumSegmentSize: UInt16
    var window: UInt16
    /// The user timeout option as it stood there (RFC 5482).
    var userTimeout: UInt16 = 0
    /// The listener's number, and that of the settings for the connection.
    var listener: UInt16
    var settings: UInt16 = 0
    /// The peer's and our window scale.
    var sendShift: UInt8 = 0
    var receiveShift: UInt8 = 0
    var flags: Flags = []

    /// What `syn` says, for a handshake in which our number is `initialSend`.
    init(_ syn: Segment, initialSend: SequenceNumber, listener: UInt16, receiveShift: UInt8, ecn: ECNUse) {
        let options = syn.options
        self.initialSend = initialSend
        initialReceive = syn.sequence
        maximumSegmentSize = options.maximumSegmentSize
        window = syn.window
        userTimeout = options.userTimeout
        self.listener = listener
        if options.hasTimestamps {
            flags.insert(.timestamps)
            timestamp = options.timestampValue
        }
        if options.isSACKPermitted { flags.insert(.sack) }
        if options.windowScale != 255 {
            flags.insert(.scaled)
            sendShift = options.windowScale
            self.receiveShift = receiveShift
        }
        if ecn != .never, syn.flags.isSuperset(of: [.ece, .cwr]) { flags.insert(.ecn) }
    }

    /// What a cookie has brought back; nothing is offered yet.
    init(initialSend: SequenceNumber, initialReceive: SequenceNumber, maximumSegmentSize: UInt16, listener: UInt16) {
        self.initialSend = initialSend
        self.initialReceive = initialReceive
        self.maximumSegmentSize = maximumSegmentSize
        window = 0
        self.listener = listener
    }

    /// The SYN, as far as it is known.
    var syn: Segment {
        var options = TCPOptions()
        options.maximumSegmentSize = maximumSegmentSize
        options.isSACKPermitted = flags.contains(.sack)
        options.hasTimestamps = flags.contains(.timestamps)
        options.timestampValue = timestamp
        options.windowScale = flags.contains(.scaled) ? sendShift : 255
        options.userTimeout = userTimeout
        return Segment(
            sequence: initialReceive, flags: flags.contains(.ecn) ? [.syn, .ece, .cwr] : [.syn], window: window,
            options: options)
    }

    /// RCV.NXT and the window that the SYN-ACK announces.
    func receiveSequence(window: UInt16) -> ReceiveSequence {
        var receive = ReceiveSequence()
        receive.nxt = initialReceive + 1
        receive.read = receive.nxt
        receive.edge = receive.nxt + Int(window)
        return receive
    }
}

extension TCPSettings {
    /// The window that a SYN or SYN-ACK announces, which is not scaled (RFC 7323 §2.2).
    func firstWindow(_ limits: TCPLimits) -> UInt16 {
        UInt16(clamping: min(receiveLimit ?? limits.receiveLimit, limits.initialReceiveLimit))
    }

    /// The window scale that lets as much wait as may ever wait.
    func receiveShift(_ limits: TCPLimits) -> UInt8 {
        let most = min(receiveLimit ?? limits.receiveLimit, 65_535 << 14)
        var shift: UInt8 = 0
        while shift < 14, most >> UInt32(shift) > 65_535 { shift += 1 }
        return shift
    }
}

extension TCP {
    /// The SYN-ACK of a handshake.
    @inline(__always)
    func synAck(_ halfOpen: HalfOpen, _ tuple: FourTuple) -> Answer {
        let settings = connections.settings[halfOpen.settings]
        var answer = Answer(
            tuple: tuple, sequence: halfOpen.initialSend, acknowledgment: halfOpen.initialReceive + 1,
            flags: halfOpen.flags.contains(.ecn) ? [.syn, .ack, .ece] : [.syn, .ack],
            window: settings.firstWindow(connections.limits))
        answer.settings = settings.wantsOwnHeader ? halfOpen.settings : 0
        answer.options = halfOpenOptions(halfOpen)
        answer.options.maximumSegmentSize = connections.limits.mtu - (tuple.isIPv4 ? 40 : 60)
        answer.options.isSACKPermitted = halfOpen.flags.contains(.sack)
        if halfOpen.flags.contains(.scaled) { answer.options.windowScale = halfOpen.receiveShift }
        if halfOpen.flags.contains(.givesCookie) {
            answer.options.setFastOpenCookie(connections.fastOpen.cookie(for: tuple, at: connections.now))
        }
        if settings.exchangesUserTimeout { answer.options.userTimeout = settings.userTimeoutOption }
        return answer
    }

    /// The ACK of a handshake that is not complete: what it says of both numbers (RFC 9293 §3.10.7.4, first).
    func halfOpenAck(_ halfOpen: HalfOpen, _ tuple: FourTuple) -> Answer {
        let settings = connections.settings[halfOpen.settings]
        // Rounded up: what the SYN-ACK has announced is not taken back.
        let unit = 1 << Int(halfOpen.receiveShift)
        let window = (Int(settings.firstWindow(connections.limits)) + unit - 1) / unit
        return Answer(
            tuple: tuple, sequence: halfOpen.initialSend + 1, acknowledgment: halfOpen.initialReceive + 1,
            flags: [.ack], window: UInt16(clamping: window),
            settings: settings.wantsOwnHeader ? halfOpen.settings : 0, options: halfOpenOptions(halfOpen))
    }

    @inline(__always)
    private func halfOpenOptions(_ halfOpen: HalfOpen) -> TCPOptions {
        var options = TCPOptions()
        if halfOpen.flags.contains(.timestamps) {
            options.hasTimestamps = true
            options.timestampValue = Connections.timestamp(at: connections.now, offset: halfOpen.timestampOffset)
            options.timestampEcho = halfOpen.timestamp
        }
        return options
    }
}
