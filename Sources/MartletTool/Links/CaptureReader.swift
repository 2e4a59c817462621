// Reads capture files: pcap (draft-ietf-opsawg-pcap) and pcapng (draft-ietf-opsawg-pcapng), of either byte order.

import Foundation

enum CaptureReader {
    /// A file that is no capture, or one that was cut.
    struct Mistake: Error, CustomStringConvertible {
        let description: String
    }

    /// The Ethernet frames of a file, and when each was captured, in nanoseconds.
    static func frames(of path: String) throws -> [(bytes: [UInt8], time: Int64)] {
        guard let data = FileManager.default.contents(atPath: path) else {
            throw Mistake(description: "\(path) cannot be read")
        }
        return try frames(in: [UInt8](data), path)
    }

    static func frames(in bytes: [UInt8], _ path: String = "the file") throws -> [(bytes: [UInt8], time: Int64)] {
        var reader = Reader(bytes: bytes)
        switch reader.word(0) {
        case 0xA1B2_C3D4, 0xA1B2_3C4D: break
        case 0xD4C3_B2A1, 0x4D3C_B2A1: reader.isSwapped = true
        case 0x0A0D_0D0A: return try next(&reader, path)
        default: throw Mistake(description: "\(path) is neither pcap nor pcapng")
        }
        return try old(&reader, path)
    }

    private struct Reader {
        let bytes: [UInt8]
        var isSwapped = false

        func has(_ offset: Int, _ count: Int) -> Bool { offset >= 0 && count >= 0 && offset + count <= bytes.count }

        /// The number there, or 0 beyond the end.
        func word(_ offset: Int) -> UInt32 {
            guard has(offset, 4) else { return 0 }
            let number = (0..<4).reduce(UInt32(0)) { $0 | UInt32(bytes[offset + $1]) << UInt32($1 * 8) }
            return isSwapped ? number.byteSwapped : number
        }

        func half(_ offset: Int) -> UInt16 {
            guard has(offset, 2) else { return 0 }
            let number = UInt16(bytes[offset]) | UInt16(bytes[offset + 1]) << 8
            return isSwapped ? number.byteSwapped : number
        }
    }

    private static func old(_ reader: inout Reader, _ path: String) throws -> [(bytes: [UInt8], time: Int64)] {
        let scale: Int64 = reader.word(0) == 0xA1B2_3C4D ? 1 : 1000
        guard reader.word(20) & 0xFFFF == 1 else { throw Mistake(description: "\(path) is not of Ethernet frames") }
        var frames: [(bytes: [UInt8], time: Int64)] = []
        var offset = 24
        while offset < reader.bytes.count {
            let length = Int(reader.word(offset + 8))
            guard reader.has(offset, 16), reader.has(offset + 16, length) else {
                throw Mistake(description: "\(path) ends within a frame, after \(frames.count) whole ones")
            }
            let time = Int64(reader.word(offset)) * 1_000_000_000 + Int64(reader.word(offset + 4)) * scale
            frames.append((Array(reader.bytes[offset + 16..<offset + 16 + length]), time))
            offset += 16 + length
        }
        return frames
    }

    private static func next(_ reader: inout Reader, _ path: String) throws -> [(bytes: [UInt8], time: Int64)] {
        var frames: [(bytes: [UInt8], time: Int64)] = []
        /// Of each interface of the section: whether it is Ethernet, and nanoseconds a unit of time.
        var interfaces: [(isEthernet: Bool, unit: Double)] = []
        var offset = 0
        while offset < reader.bytes.count {
            if reader.word(offset) == 0x0A0D_0D0A {
                reader.isSwapped = false
                reader.isSwapped = reader.word(offset + 8) != 0x1A2B_3C4D
                interfaces = []
            }
            let length = Int(reader.word(offset + 4))
            guard length >= 12, length % 4 == 0, reader.has(offset, length) else {
                throw Mistake(description: "\(path) ends within a block, after \(frames.count) whole frames")
            }
            switch reader.word(offset) {
            case 1:
                interfaces.append(
                    (reader.half(offset + 8) == 1, unit(reader, from: offset + 16, to: offset + length - 4)))
            case 6:
                let (number, captured) = (Int(reader.word(offset + 8)), Int(reader.word(offset + 20)))
                guard number < interfaces.count, captured <= length - 32 else {
                    throw Mistake(description: "\(path) has a frame of no interface, or longer than its block")
                }
                let ticks = UInt64(reader.word(offset + 12)) << 32 | UInt64(reader.word(offset + 16))
                if interfaces[number].isEthernet {
                    let start = offset + 28
                    frames.append(
                        (Array(reader.bytes[start..<start + captured]), Int64(Double(ticks) * interfaces[number].unit)))
                }
            default: break
            }
            offset += length
        }
        return frames
    }

    /// What `if_tsresol` says, in nanoseconds; microseconds if it says nothing.
    private static func unit(_ reader: Reader, from start: Int, to end: Int) -> Double {
        var offset = start
        while offset + 4 <= end {
            let (code, length) = (reader.half(offset), Int(reader.half(offset + 2)))
            if code == 9, length == 1, reader.has(offset + 4, 1) {
                let value = reader.bytes[offset + 4]
                return value & 0x80 == 0 ? pow(10, 9 - Double(value)) : 1e9 / pow(2, Double(value & 0x7F))
            }
            if code == 0 { break }
            offset += 4 + (length + 3) & ~3
        }
        return 1000
    }
}
