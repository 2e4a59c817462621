// What must come of every event in every state, from the text of RFC 9293 §3.10 with the amendments of RFC 5961 and RFC 1337.
//
// A cell is what is sent, then ">" and the new state if it changes, then ":" and what the user hears.
// "|" separates outcomes of which the RFC leaves the choice.
//
//     sent    -   nothing                                     A   <SEQ=SND.NXT><ACK=RCV.NXT>, and nothing was taken
//             A+  the same, and all of the segment was taken  C   the same as A, counted as a challenge (RFC 5961)
//             a   an ACK or the SYN,ACK, with what A says     R   <SEQ=SEG.ACK><CTL=RST>
//             RA  <SEQ=0><ACK=SEG.SEQ+SEG.LEN><CTL=RST,ACK>   X   a reset at SND.NXT: the connection's own
//             S   the SYN       SA  the SYN,ACK               D   100 bytes at SND.NXT    D'  the 100 bytes again
//             F   a FIN at SND.NXT          F'  the FIN again *   whatever: what matters is how it ends
//     heard   e  established   r  readable   f  finished   k  acknowledged   x  ended      ended by: !  a reset
//             ?  a refusal     &  an abort   t  a timeout
//     calls   =n  what comes back
//
// P is the number that the peer sends next, which is RCV.NXT; N is SND.NXT, U is SND.UNA, W is RCV.WND.

enum StateTable {
    /// CL nobody; CLx a connection that has ended and whose user has not let go; LI a listener; SRp SYN-RECEIVED by a listener;
    /// SRa SYN-RECEIVED by a simultaneous open. The user has no handle in SRp, and calls nothing.
    ///
    /// In SRp a SYN in the window returns the connection to LISTEN by the RFC's letter, and is challenged by RFC 5961.
    /// A SYN,ACK that is the answer to a duplicate SYN says what the RFC's ACK says, and helps if the first was lost.
    /// Of the calls in SRa, CLOSE waits for ESTABLISHED, as the RFC has it if bytes are waiting.
    static let beginning = """
                                  CL        CLx       LI        SS        SRp       SRa
        SYN                       RA        RA        SA>SR     SA>SR     ->LI|C    C
        SYN in window             RA        RA        SA>SR     SA>SR     ->LI|C    C
        SYN again                 RA        RA        SA>SR     SA>SR     a         a
        SYN outside               RA        RA        SA>SR     SA>SR     a         a
        SYN,ACK                   R         R         R         A+>ES:e   ->LI|C    C
        SYN,ACK again             R         R         R         A+>ES:e   a         a
        SYN,ACK of unsent         R         R         R         R         ->LI|C    C
        SYN,ACK of ISS            R         R         R         R         ->LI|C    C
        ACK                       R         R         R         -         ->ES      ->ES:e
        ACK without window        R         R         R         -         ->ES      ->ES:e
        ACK of U                  R         R         R         R         R         R
        ACK below U               R         R         R         R         R         R
        ACK far below U           R         R         R         R         R         R
        ACK of unsent             R         R         R         R         R         R
        ACK left of window        R         R         R         -         a         a
        ACK at the edge           R         R         R         -         ->ES      ->ES:e
        ACK beyond window         R         R         R         -         a         a
        data                      R         R         R         -         A+>ES:r   A+>ES:er
        data again                R         R         R         -         a         a
        data partly old           R         R         R         -         A+>ES:r   A+>ES:er
        data out of order         R         R         R         -         A>ES      A>ES:e
        data up to the edge       R         R         R         -         A>ES      A>ES:e
        data over the edge        R         R         R         -         A>ES      A>ES:e
        data beyond window        R         R         R         -         a         a
        data without ACK          RA        RA        -         -         -         -
        data, ACK of U            R         R         R         R         R         R
        data, ACK far below U     R         R         R         R         R         R
        data, ACK of unsent       R         R         R         R         R         R
        urgent data               R         R         R         -         A+>ES:r   A+>ES:er
        FIN                       R         R         R         -         A+>CW:f   A+>CW:ef
        FIN, ACK of U             R         R         R         R         R         R
        FIN, ACK of unsent        R         R         R         R         R         R
        FIN with data             R         R         R         -         A+>CW:rf  A+>CW:erf
        FIN again                 R         R         R         -         a         a
        FIN out of order          R         R         R         -         A>ES      A>ES:e
        FIN beyond window         R         R         R         -         a         a
        FIN without ACK           RA        RA        -         -         -         -
        RST                       -         -         -         -         ->LI      ->CL:?
        RST,ACK                   -         -         -         ->CL:?    ->LI      ->CL:?
        RST,ACK of unsent         -         -         -         -         ->LI      ->CL:?
        RST in window             -         -         -         -         a|-       C
        RST at the edge           -         -         -         -         a|-       C
        RST left of window        -         -         -         -         -         -
        RST beyond window         -         -         -         -         -         -
        no flags                  RA        RA        -         -         -         -
        URG alone                 RA        RA        -         -         -         -
        PSH alone                 RA        RA        -         -         -         -
        all flags                 -         -         -         ->CL:?    ->LI      ->CL:?
        old timestamp, ACK        R         R         R         -         a|-       A
        old timestamp, data       R         R         R         -         a|-       A
        old timestamp, FIN        R         R         R         -         a|-       A
        old timestamp, RST        -         -         -         -         ->LI      ->CL:?
        bad checksum              -         -         -         -         -         -
        header too short          -         -         -         -         -         -
        first timeout             -         -         -         S         SA        SA
        an hour                   -         -         -         *>CL:t    *>LI      *>CL:t
        OPEN, active              -         -         -         -         -         -
        OPEN, passive             ->LI      -         -         -         -         -
        SEND                      -=0       -=0       -=0       -=100     -=0       -=100
        RECEIVE                   -=0       -=0       -=0       -=0       -=0       -=0
        CLOSE of sending          -         -         -         -         -         -
        CLOSE                     -         -         -         ->CL      -         -
        ABORT                     -         -         -         ->CL:&    -         X>CL:&
        """

    /// ES+ has 100 bytes in flight, and ES0 a receive window of zero; TWl has a listener on its port.
    ///
    /// ES0 takes a FIN that needs no room, where the RFC's table of acceptable segments refuses it: what is to be read is all
    /// there. In CI and LA a reset is told, because it says that the FIN was never taken (MUST-12). TIME-WAIT ignores resets
    /// (RFC 1337), and gives way to a new SYN if somebody listens (MAY-2, RFC 6191).
    static let synchronized = """
                               ES       ES+      ES0      F1       F2       CW       CI       LA       TW       TWl
        SYN                    C        C        C        C        C        C        C        C        C        C|SA>SR
        SYN in window          C        C        A        C        C        C        C        C        C        SA>SR
        SYN again              A        A        A        A        A        A        A        A        A        A|SA>SR
        SYN outside            A        A        A        A        A        A        A        A        A        SA>SR
        SYN,ACK                C        C        C        C        C        C        C        C        C        C
        SYN,ACK again          A        A        A        A        A        A        A        A        A        A
        SYN,ACK of unsent      C        C        C        C        C        C        C        C        C        C
        SYN,ACK of ISS         C        C        C        C        C        C        C        C        C        C
        ACK                    -        -        -        ->F2:k   -        -        ->TW:kx  ->CL:kx  -        -
        ACK without window     -        -        -        ->F2:k   -        -        ->TW:kx  ->CL:kx  -        -
        ACK of U               -        -        -        -        -        -        -        -        -        -
        ACK below U            -        -        -        -        -        -        -        -        -        -
        ACK far below U        C        C        C        C        C        C        C        C        C        C
        ACK of unsent          C        C        C        C        C        C        C        C        C        C
        ACK left of window     A        A        A        A        A        A        A        A        A        A
        ACK at the edge        -        -        A        ->F2:k   -        -        ->TW:kx  ->CL:kx  -        -
        ACK beyond window      A        A        -        A        A        A        A        A        A        A
        data                   A+:r     A+:r     A        A+>F2:kr A+:r     -        ->TW:kx  ->CL:kx  -        -
        data again             A        A        A        A        A        A        A        A        A        A
        data partly old        A+:r     A+:r     A        A+>F2:kr A+:r     -        ->TW:kx  ->CL:kx  -        -
        data out of order      A        A        A        A>F2:k   A        -        ->TW:kx  ->CL:kx  -        -
        data up to the edge    A        A        A        A>F2:k   A        -        ->TW:kx  ->CL:kx  -        -
        data over the edge     A        A        A        A>F2:k   A        -        ->TW:kx  ->CL:kx  -        -
        data beyond window     A        A        A        A        A        A        A        A        A        A
        data without ACK       -        -        A        -        -        -        -        -        -        -
        data, ACK of U         A+:r     A+:r     A        A+:r     A+:r     -        -        -        -        -
        data, ACK far below U  C        C        A        C        C        C        C        C        C        C
        data, ACK of unsent    C        C        A        C        C        C        C        C        C        C
        urgent data            A+:r     A+:r     A        A+>F2:kr A+:r     -        ->TW:kx  ->CL:kx  -        -
        FIN                    A+>CW:f  A+>CW:f  A+>CW:f  A+>TW:fkx A+>TW:fx A       A>TW:kx  ->CL:kx  A        A
        FIN, ACK of U          A+>CW:f  A+>CW:f  A+>CW:f  A+>CI:f  A+>TW:fx A        A        A        A        A
        FIN, ACK of unsent     C        C        C        C        C        C        C        C        C        C
        FIN with data          A+>CW:rf A+>CW:rf A        A+>TW:rfkx A+>TW:rfx A     A>TW:kx  ->CL:kx  A        A
        FIN again              A        A        A        A        A        A        A        A        A        A
        FIN out of order       A        A        A        A>F2:k   A        A        A>TW:kx  ->CL:kx  A        A
        FIN beyond window      A        A        A+>CW:f  A        A        A        A        A        A        A
        FIN without ACK        -        -        -        -        -        -        -        -        -        -
        RST                    ->CL:!   ->CL:!   ->CL:!   ->CL:!   ->CL:!   ->CL:!   ->CL:!   ->CL:!   -        -
        RST,ACK                ->CL:!   ->CL:!   ->CL:!   ->CL:!   ->CL:!   ->CL:!   ->CL:!   ->CL:!   -        -
        RST,ACK of unsent      ->CL:!   ->CL:!   ->CL:!   ->CL:!   ->CL:!   ->CL:!   ->CL:!   ->CL:!   -        -
        RST in window          C        C        -        C        C        C        C        C        C|-      C|-
        RST at the edge        C        C        -        C        C        C        C        C        C|-      C|-
        RST left of window     -        -        -        -        -        -        -        -        -        -
        RST beyond window      -        -        ->CL:!   -        -        -        -        -        -        -
        no flags               -        -        -        -        -        -        -        -        -        -
        URG alone              -        -        -        -        -        -        -        -        -        -
        PSH alone              -        -        -        -        -        -        -        -        -        -
        all flags              ->CL:!   ->CL:!   ->CL:!   ->CL:!   ->CL:!   ->CL:!   ->CL:!   ->CL:!   -        -
        old timestamp, ACK     A        A        A        A        A        A        A        A        A        A
        old timestamp, data    A        A        A        A        A        A        A        A        A        A
        old timestamp, FIN     A        A        A        A        A        A        A        A        A        A
        old timestamp, RST     ->CL:!   ->CL:!   ->CL:!   ->CL:!   ->CL:!   ->CL:!   ->CL:!   ->CL:!   -        -
        bad checksum           -        -        -        -        -        -        -        -        -        -
        header too short       -        -        -        -        -        -        -        -        -        -
        first timeout          -        D'       -        F'       -        -        F'       F'       -        -
        an hour                -        *>CL:t   -        *>CL:t   -        -        *>CL:t   *>CL:t   ->CL:x   ->CL:x
        OPEN, active           -        -        -        -        -        -        -        -        -        -
        OPEN, passive          -        -        -        -        -        -        -        -        -        -
        SEND                   D=100    -=100    D=100    -=0      -=0      D=100    -=0      -=0      -=0      -=0
        RECEIVE                -=0      -=0      A=1000   -=0      -=0      -=0      -=0      -=0      -=0      -=0
        CLOSE of sending       F>F1     F>F1     F>F1     -        -        F>LA     -        -        -        -
        CLOSE                  F>F1     F>F1     X>CL     -        -        F>LA     -        -        -        -
        ABORT                  X>CL:&   X>CL:&   X>CL:&   X>CL:&   X>CL:&   X>CL:&   ->CL:&   ->CL:&   ->CL:&   ->CL:&
        """

    /// The cells of a table by event and column. The head has columns apart by two spaces or more; a row's name ends there, too.
    static func cells(_ table: String) -> [String: [String: String]] {
        var columns: [String] = []
        var cells: [String: [String: String]] = [:]
        for line in table.split(separator: "\n") {
            if columns.isEmpty {
                columns = line.split(separator: " ").map(String.init)
                continue
            }
            var words = line.split(separator: " ").map(String.init)
            let values = Array(words.suffix(columns.count))
            words.removeLast(columns.count)
            cells[words.joined(separator: " ")] = Dictionary(uniqueKeysWithValues: zip(columns, values))
        }
        return cells
    }
}

/// What came of an event, as a cell writes it.
struct StateOutcome: Equatable {
    var sent: String
    /// Nil if it is as before.
    var state: String?
    var heard: String
    var result: Int?

    init(sent: String, state: String?, heard: Set<Character>, result: Int?) {
        self.sent = sent
        self.state = state
        self.heard = String(heard.sorted())
        self.result = result
    }

    init(_ cell: Substring) {
        var rest = cell
        result = nil
        heard = ""
        state = nil
        if let place = rest.firstIndex(of: "=") {
            result = Int(rest[rest.index(after: place)...])
            rest = rest[..<place]
        }
        if let place = rest.firstIndex(of: ":") {
            heard = String(rest[rest.index(after: place)...].sorted())
            rest = rest[..<place]
        }
        if let place = rest.firstIndex(of: ">") {
            state = String(rest[rest.index(after: place)...])
            rest = rest[..<place]
        }
        sent = String(rest)
    }

    /// Whether this, which has happened, is what `expected` says.
    func isWhat(_ expected: StateOutcome) -> Bool {
        let isSent =
            switch expected.sent {
            case "*": true
            case "a": ["A", "C", "SA"].contains(sent)
            // A challenge is an ACK; whether it is counted matters only where the table says so.
            case "A": ["A", "C"].contains(sent)
            default: sent == expected.sent
            }
        return isSent && state == expected.state && heard == expected.heard && result == expected.result
    }
}
