// Bytes: an immutable run that behaves as a collection, shares its storage with its slices, and lends itself as a span.

import Martlet
import Testing

@Suite("Bytes")
struct APIBytesTests {
    @Test("no bytes are empty, however they are made")
    func empty() {
        for bytes in [Bytes(), [], "", Bytes([UInt8]()), Bytes(""), Bytes(capacity: 10) { _ in }, Bytes("abc")[1..<1]] {
            #expect(bytes.isEmpty)
            #expect(bytes.count == 0)
            #expect(bytes.first == nil)
            #expect(bytes == Bytes())
            #expect(bytes.bytes.byteCount == 0)
            #expect(Array(bytes) == [])
            #expect(bytes.description == "")
            #expect(bytes.hashValue == Bytes().hashValue)
        }
    }

    @Test("a copy of a collection has its elements, contiguous or not")
    func copies() {
        let elements: [UInt8] = [0, 1, 127, 128, 255]
        #expect(Array(Bytes(elements)) == elements)
        #expect(Array(Bytes(elements.reversed())) == elements.reversed())
        #expect(Array(Bytes(elements.lazy.filter { $0 > 1 })) == [127, 128, 255])
        #expect(Array(Bytes(elements[1...2])) == [1, 127])
        #expect(Array(Bytes(repeatElement(7, count: 3))) == [7, 7, 7])
        #expect(Array([1, 2, 3] as Bytes) == [1, 2, 3])
        let span = elements.span
        let copy = unsafe Bytes(copying: span.bytes)
        #expect(Array(copy) == elements)
    }

    @Test("a string becomes its UTF-8, and comes back as it was")
    func strings() {
        let text = "Zürich → 東京 🐦"
        #expect(Array(Bytes(text)) == Array(text.utf8))
        #expect(Bytes(text).description == text)
        #expect(String(decoding: Bytes(text), as: UTF8.self) == text)
        #expect(Array(Bytes(text.dropFirst(2))) == Array(text.dropFirst(2).utf8))
        #expect(("literal" as Bytes).description == "literal")
        #expect(Bytes([0xff, 0x41]).description == "\u{FFFD}A")
    }

    @Test("it is a random-access collection")
    func collection() {
        let bytes: Bytes = [10, 20, 30, 40]
        #expect(bytes.startIndex == 0)
        #expect(bytes.endIndex == 4)
        #expect(bytes.indices == 0..<4)
        #expect(bytes.first == 10)
        #expect(bytes.last == 40)
        #expect(bytes[2] == 30)
        #expect(bytes.index(1, offsetBy: 2) == 3)
        #expect(bytes.distance(from: 0, to: 4) == 4)
        #expect(bytes.firstIndex(of: 30) == 2)
        #expect(bytes.reduce(0) { $0 + Int($1) } == 100)
        #expect(Array(bytes.reversed()) == [40, 30, 20, 10])
        #expect(bytes.elementsEqual([10, 20, 30, 40]))
        #expect(bytes.starts(with: [10, 20]))
        let contiguous = unsafe bytes.withContiguousStorageIfAvailable { $0.count }
        #expect(contiguous == 4)
    }

    @Test("a slice begins at 0 and is bytes like any other, also a slice of a slice")
    func slices() {
        let bytes = Bytes((0..<100).map { UInt8($0) })
        let slice = bytes[10..<20]
        #expect(slice.startIndex == 0)
        #expect(slice.count == 10)
        #expect(slice[0] == 10)
        #expect(Array(slice) == Array(10..<20))
        #expect(Array(slice[2..<4]) == [12, 13])
        #expect(slice[0..<10] == slice)
        #expect(bytes[0..<0].isEmpty)
        #expect(bytes[100..<100].isEmpty)
        #expect(Array(bytes.prefix(3)) == [0, 1, 2])
        #expect(Array(bytes.suffix(3)) == [97, 98, 99])
        #expect(Array(bytes.dropFirst(98)) == [98, 99])
        #expect(Array(bytes.dropFirst(90).dropLast(8)) == [90, 91])
        #expect(bytes.split(separator: 50).map(\.count) == [50, 49])
    }

    @Test("generic algorithms that slice by index work on slices of slices")
    func genericSlicing() {
        let line: Bytes = "GET /path HTTP/1.1"
        let words = line.split(separator: UInt8(ascii: " "))
        #expect(words.map(\.description) == ["GET", "/path", "HTTP/1.1"])
        #expect(words[1].dropFirst().description == "path")
        var rest = line
        var seen: [String] = []
        while let space = rest.firstIndex(of: UInt8(ascii: " ")) {
            seen.append(rest[..<space].description)
            rest = rest[(space + 1)...]
        }
        #expect(seen == ["GET", "/path"])
        #expect(rest.description == "HTTP/1.1")
    }

    @Test("a slice keeps the storage alive after the whole has gone")
    func sliceOutlives() {
        var slice = Bytes()
        do {
            let whole = Bytes(capacity: 1 << 16) { output in
                for number in 0..<(1 << 16) { output.append(UInt8(truncatingIfNeeded: number)) }
            }
            slice = whole[256..<260]
        }
        #expect(Array(slice) == [0, 1, 2, 3])
    }

    @Test("bytes written through a closure are those, and no more")
    func writing() {
        let bytes = Bytes(capacity: 8) { output in
            #expect(output.freeCapacity == 8)
            for byte in UInt8(1)...5 { output.append(byte) }
        }
        #expect(Array(bytes) == [1, 2, 3, 4, 5])
        var room = -1
        let none = Bytes(capacity: 0) { room = $0.freeCapacity }
        #expect(none.isEmpty)
        #expect(room == 0)
    }

    @Test("an error in the writing closure comes out")
    func writingThrows() {
        struct Mishap: Error {}
        #expect(throws: Mishap.self) {
            _ = try Bytes(capacity: 8) { output throws(Mishap) in
                output.append(1)
                throw Mishap()
            }
        }
    }

    @Test("the span shows the bytes")
    func spans() {
        let bytes: Bytes = [1, 2, 3, 4, 5]
        let whole = bytes.bytes
        #expect(whole.byteCount == 5)
        #expect(unsafe whole.unsafeLoad(fromByteOffset: 4, as: UInt8.self) == 5)
        let slice = bytes[1..<3]
        #expect(slice.bytes.byteCount == 2)
        #expect(Array(Bytes(copying: slice.bytes)) == [2, 3])
        unsafe bytes.withUnsafeBytes { #expect(unsafe Array($0) == [1, 2, 3, 4, 5]) }
    }

    @Test("equal bytes are equal and hash alike, wherever they lie")
    func equality() {
        let one: Bytes = [1, 2, 3]
        let other = Bytes([0, 1, 2, 3, 4])[1..<4]
        #expect(one == other)
        #expect(one.hashValue == other.hashValue)
        #expect(Set([one, other, [1, 2], [1, 2, 3, 4]]).count == 3)
        #expect(one != [1, 2])
        #expect(one != [1, 2, 4])
        #expect(Bytes() != [0])
        #expect([one: "value"][other] == "value")
    }
}
