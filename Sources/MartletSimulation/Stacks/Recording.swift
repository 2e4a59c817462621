// The last packets of a run, to be looked at when it has failed: with tshark or Wireshark, one interface a host.

internal import Glibc
import MartletStack

/// A ring of the packets that were sent and that arrived.
struct Recording {
    private struct Packet {
        var instant: Instant
        var host: Int
        var direction: Capture.Direction
        var comment: String?
        var bytes: [UInt8]
    }

    /// How many packets it holds, the newest.
    let capacity: Int
    private var packets: [Packet] = []
    private var oldest = 0
    /// One file a run: the first failure is the one to look at, and others follow from it.
    private var path: String?

    private let framing: Framing

    init(capacity: Int = 4096, framing: Framing = .ip) {
        self.capacity = capacity
        self.framing = framing
    }

    mutating func append(
        _ bytes: [UInt8], at instant: Instant, host: Int, _ direction: Capture.Direction, _ comment: String?
    ) {
        let packet = Packet(instant: instant, host: host, direction: direction, comment: comment, bytes: bytes)
        if packets.count < capacity { return packets.append(packet) }
        packets[oldest] = packet
        oldest = oldest + 1 == capacity ? 0 : oldest + 1
    }

    /// The packets as a file, oldest first.
    func capture(names: [String]) -> Capture {
        var capture = Capture(application: "MartletSimulation")
        for name in names { _ = capture.addInterface(name, framing: framing) }
        for packet in packets[oldest...] + packets[..<oldest] {
            capture.append(
                packet.bytes, at: packet.instant, interface: packet.host, direction: packet.direction,
                comment: packet.comment)
        }
        return capture
    }

    /// Writes the file into the temporary folder, and says where it is.
    mutating func write(names: [String], seed: UInt64) -> String {
        if let path { return "Capture: \(path)" }
        let folder = unsafe getenv("TMPDIR").map { unsafe String(cString: $0) } ?? "/tmp"
        for number in 0..<100 {
            let path = "\(folder)/martlet-\(getpid())-seed\(seed)-\(number).pcapng"
            if unsafe access(path, F_OK) == 0 { continue }
            do throws(FileError) {
                try capture(names: names).write(toFile: path)
                self.path = path
                return "Capture: \(path)"
            } catch {
                return "No capture: \(error)"
            }
        }
        return "No capture: there are too many"
    }
}
