// A key-value server that speaks memcached's text protocol: any memcached client can use it.
//
//     swift run -c release KeyValueServer --port 11211
//     printf 'set greeting 0 0 5\r\nhello\r\nget greeting\r\nquit\r\n' | nc -N 127.0.0.1 11211     # in another terminal
//
// What a client has sent in one piece is answered in one piece, so requests may be pipelined. Keys are spread over shards, each
// behind a lock of its own that is held for as long as one look into a dictionary takes. When the memory is used up, storing
// fails, as with memcached -M: nothing is thrown away before its time.

import ArgumentParser
import Foundation
import Martlet
import Synchronization

@main
struct KeyValueServer: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Keeps values by key, for clients of memcached's.")

    @Option(help: "The port to listen on; 0 lets the kernel choose.") var port: UInt16 = 11211
    @Option(help: "MiB of memory for keys and values.") var memory = 64
    @Option(help: "KiB of the largest value.") var largest = 1024
    @Option(help: "The number of cores to use. (default: all)") var cores: Int?
    @Option(help: "A link to run Martlet's own TCP/IP on, such as tap:tap0. (default: the kernel's TCP/IP)")
    var link: String?
    @Option(help: "An address on that link, such as 10.0.0.2/24; may be repeated. (default: DHCP and SLAAC)")
    var address: [String] = []
    @Option(help: "A router on that link; may be repeated.") var gateway: [String] = []

    func validate() throws {
        guard memory > 0, largest > 0 else { throw ValidationError("there is nothing to keep in no memory") }
    }

    func run() async throws {
        let configuration = Runtime.Configuration(
            transport: try .init(link: link, addresses: address, gateways: gateway),
            cores: cores.map { .count($0) } ?? .all, shutdownSignals: [.terminate, .interrupt])
        let store = Store(memory: memory << 20, largest: largest << 10)
        try await Runtime.run(configuration) { runtime in
            try await runtime.serve(on: .any(port: port), onListening: announce) { connection in
                store.count(.connections, 1)
                defer { store.count(.connections, -1) }
                var session = Session(store)
                for try await bytes in connection {
                    session.append(bytes)
                    var goesOn = true
                    while goesOn {
                        goesOn = session.answer()
                        if !session.answers.isEmpty { try await connection.send(session.takeAnswers()) }
                    }
                    if session.hasEnded { return }
                }
            }
        }
    }
}

/// Prints the address at once, even into a pipe.
@Sendable private func announce(_ address: SocketAddress) {
    print("listening on \(address)")
    fflush(nil)
}

// MARK: - What is kept

struct Item {
    var value: [UInt8]
    var flags: UInt32
    /// Second of the epoch at which it is gone, `.max` for never.
    var expires: Int
    /// Another number with each change.
    var unique: UInt64
    /// Second in which it was stored.
    var stored: Int
}

/// The outcome of storing, in the protocol's words.
enum Stored: String {
    case stored = "STORED", notStored = "NOT_STORED", exists = "EXISTS", notFound = "NOT_FOUND"
    case noMemory = "SERVER_ERROR out of memory storing object"
}

final class Store: Sendable {
    private struct Shard {
        var items: [Bytes: Item] = [:]
        var bytes = 0

        /// The item of a key, if its time has not come.
        mutating func live(_ key: Bytes, _ flushedBefore: Int, _ now: Int) -> Item? {
            guard let item = items[key] else { return nil }
            if item.expires > now, item.stored >= flushedBefore { return item }
            remove(key)
            return nil
        }

        mutating func remove(_ key: Bytes) {
            guard let item = items.removeValue(forKey: key) else { return }
            bytes -= Store.cost(key, item)
        }
    }

    enum Counter: Int, CaseIterable {
        case connections, gets, hits, sets, items
        var name: String { ["curr_connections", "cmd_get", "get_hits", "cmd_set", "total_items"][rawValue] }
    }

    private final class Locked: Sendable { let shard = Mutex(Shard()) }

    private let shards = (0..<256).map { _ in Locked() }
    private let unique = Atomic<UInt64>(1)
    private let flushedBefore = Atomic<Int>(0)
    private let counters = Mutex([Int](repeating: 0, count: Counter.allCases.count))
    private let memoryOfShard: Int
    let memory: Int
    let largest: Int
    let started = Store.now

    init(memory: Int, largest: Int) {
        (self.memory, self.largest) = (memory, largest)
        memoryOfShard = max(memory / shards.count, largest + 1024)
    }

    static var now: Int { time(nil) }
    static func cost(_ key: Bytes, _ item: Item) -> Int { key.count + item.value.count + 64 }

    private func locked<R: Sendable>(_ key: Bytes, _ body: (inout Shard, Int, Int) -> R) -> R {
        let (now, flushed) = (Self.now, flushedBefore.load(ordering: .relaxed))
        // A flush that is to come has not happened yet.
        let before = flushed > now ? 0 : flushed
        return shards[Int(truncatingIfNeeded: UInt(bitPattern: key.hashValue) % 256)].shard.withLock {
            body(&$0, before, now)
        }
    }

    func count(_ counter: Counter, _ difference: Int = 1) { counters.withLock { $0[counter.rawValue] += difference } }

    func item(_ key: Bytes, expires: Int? = nil) -> Item? {
        locked(key) { shard, flushed, now in
            guard let item = shard.live(key, flushed, now) else { return nil }
            if let expires { shard.items[key]?.expires = expires }
            return item
        }
    }

    /// Stores what `change` makes of the present item, or what it says instead.
    func update(_ key: Bytes, _ change: (Item?, Int) -> Result<Item, Outcome>) -> Stored {
        let unique = unique.add(1, ordering: .relaxed).newValue
        return locked(key) { shard, flushed, now in
            let old = shard.live(key, flushed, now)
            switch change(old, now) {
            case .failure(let outcome): return outcome.stored
            case .success(var item):
                item.unique = unique
                item.stored = now
                let growth = Self.cost(key, item) - (old.map { Self.cost(key, $0) } ?? 0)
                if shard.bytes + growth > memoryOfShard {
                    for (other, item) in shard.items where item.expires <= now || item.stored < flushed {
                        shard.remove(other)
                    }
                    if shard.bytes + growth > memoryOfShard { return .noMemory }
                }
                shard.bytes += growth
                shard.items[key] = item
                return .stored
            }
        }
    }

    struct Outcome: Error { let stored: Stored }

    func remove(_ key: Bytes) -> Bool {
        locked(key) { shard, flushed, now in
            let wasThere = shard.live(key, flushed, now) != nil
            shard.remove(key)
            return wasThere
        }
    }

    /// All that has been stored by then is gone, from then on.
    func flush(at second: Int) {
        if second > Self.now { return flushedBefore.store(second, ordering: .relaxed) }
        for locked in shards { locked.shard.withLock { $0 = Shard() } }
        flushedBefore.store(0, ordering: .relaxed)
    }

    var statistics: [(String, String)] {
        var (items, bytes) = (0, 0)
        for locked in shards {
            let (count, size) = locked.shard.withLock { ($0.items.count, $0.bytes) }
            (items, bytes) = (items + count, bytes + size)
        }
        let counts = counters.withLock { $0 }
        return [
            ("pid", "\(getpid())"), ("uptime", "\(Self.now - started)"), ("time", "\(Self.now)"),
            ("version", Session.version), ("pointer_size", "64"), ("limit_maxbytes", "\(memory)"),
            ("bytes", "\(bytes)"),
            ("curr_items", "\(items)"),
        ] + Counter.allCases.map { ($0.name, "\(counts[$0.rawValue])") }
            + [("get_misses", "\(counts[Counter.gets.rawValue] - counts[Counter.hits.rawValue])")]
    }
}

// MARK: - The protocol

/// One client's requests, as far as they have come, and the answers that it has not been sent.
struct Session {
    static let version = "0.1.0-martlet"
    private static let longestKey = 250
    /// A client may ask for many thousands of values on one line.
    private static let longestLine = 8 << 20
    /// Answers are sent when there is so much of them, whatever else has been asked.
    private static let answersAtOnce = 256 << 10

    private let store: Store
    private var input: [UInt8] = []
    private var position = 0
    /// Up to here there is no end of the line that begins at `position`.
    private var searched = 0
    /// Bytes of a refused value that are still to come.
    private var skipped = 0
    private(set) var answers: [UInt8] = []
    private(set) var hasEnded = false

    init(_ store: Store) { self.store = store }

    mutating func append(_ bytes: Bytes) {
        if position > 0 {
            input.removeFirst(position)
            searched = max(0, searched - position)
            position = 0
        }
        input += bytes
    }

    mutating func takeAnswers() -> [UInt8] {
        defer { answers = [] }
        return answers
    }

    /// Answers what has come. Returns whether there may be more to answer once the answers are sent.
    mutating func answer() -> Bool {
        while !hasEnded {
            if answers.count >= Self.answersAtOnce { return true }
            let skippedNow = min(skipped, input.count - position)
            (position, skipped) = (position + skippedNow, skipped - skippedNow)
            guard skipped == 0 else { return false }
            guard let end = input[max(position, searched)...].firstIndex(of: UInt8(ascii: "\n")) else {
                searched = input.count
                // The binary protocol, or what is no protocol at all.
                if input.count - position > Self.longestLine || input[position...].first == 0x80 { refuseForGood() }
                return false
            }
            let line = input[position..<end]
            let words = (line.last == UInt8(ascii: "\r") ? line.dropLast() : line)
                .split(separator: UInt8(ascii: " ")).map { Bytes($0) }
            guard perform(words, after: end + 1) else { return false }
        }
        return false
    }

    private mutating func refuseForGood() {
        reply("CLIENT_ERROR line too long, or not of the text protocol")
        hasEnded = true
    }

    private mutating func reply(_ line: String, unless isSilent: Bool = false) {
        if !isSilent {
            answers += line.utf8
            answers += [13, 10]
        }
    }

    /// Performs the command on a line that ends before `next`. Returns false if its value has not come yet.
    private mutating func perform(_ words: [Bytes], after next: Int) -> Bool {
        let isSilent = words.last == "noreply"
        let arguments = Array(words.dropFirst().dropLast(isSilent ? 1 : 0))
        switch words.first?.description {
        case "set", "add", "replace", "append", "prepend", "cas":
            return storeValue(words[0].description, arguments, isSilent, after: next)
        case "get", "gets": sendItems(arguments, withUnique: words[0] == "gets")
        case "gat", "gats":
            if let expires = arguments.first.flatMap({ Self.expiry($0) }) {
                sendItems(Array(arguments.dropFirst()), withUnique: words[0] == "gats", expires: expires)
            } else {
                reply("CLIENT_ERROR invalid exptime argument")
            }
        case "delete":
            // A time of 0 is from before the protocol had no times here.
            if let key = key(arguments.first), arguments.count == 1 || (arguments.count == 2 && arguments[1] == "0") {
                reply(store.remove(key) ? "DELETED" : "NOT_FOUND", unless: isSilent)
            } else {
                reply("CLIENT_ERROR bad command line format.  Usage: delete <key> [noreply]")
            }
        case "incr": count(arguments, isSilent) { $0 &+ $1 }
        case "decr": count(arguments, isSilent) { $0 > $1 ? $0 - $1 : 0 }
        case "touch":
            guard arguments.count == 2, let key = key(arguments[0]) else {
                reply("ERROR")
                break
            }
            guard let expires = Self.expiry(arguments[1]) else {
                reply("CLIENT_ERROR invalid exptime argument")
                break
            }
            reply(store.item(key, expires: expires) == nil ? "NOT_FOUND" : "TOUCHED", unless: isSilent)
        case "flush_all":
            guard let delay = arguments.first.map({ Int($0.description) }) ?? 0, arguments.count < 2 else {
                reply("CLIENT_ERROR bad command line format")
                break
            }
            store.flush(at: Store.now + max(0, delay))
            reply("OK", unless: isSilent)
        case "stats":
            if words.count == 1 {
                for (name, value) in store.statistics { reply("STAT \(name) \(value)") }
                reply("END")
            } else {
                reply(words.count == 2 && words[1] == "reset" ? "RESET" : "ERROR")
            }
        case "version" where words.count == 1: reply("VERSION \(Self.version)")
        case "verbosity" where arguments.count == 1 || (arguments.isEmpty && isSilent): reply("OK", unless: isSilent)
        case "quit" where words.count == 1: hasEnded = true
        default: reply("ERROR")
        }
        position = next
        return true
    }

    private func key(_ word: Bytes?) -> Bytes? {
        guard let word, word.count <= Self.longestKey, word.allSatisfy({ $0 > 32 && $0 != 127 }) else { return nil }
        return word
    }

    /// A time of the protocol's as a second of the epoch: relative up to 30 days, absolute beyond, gone at once if negative.
    private static func expiry(_ word: Bytes) -> Int? {
        guard let time = Int(word.description) else { return nil }
        if time < 0 { return 0 }
        if time == 0 { return .max }
        return time <= 30 * 86_400 ? Store.now + time : time
    }

    private mutating func sendItems(_ keys: [Bytes], withUnique: Bool, expires: Int? = nil) {
        guard !keys.isEmpty else { return reply("ERROR") }
        guard keys.allSatisfy({ key($0) != nil }) else { return reply("CLIENT_ERROR bad command line format") }
        for key in keys {
            store.count(.gets)
            guard let item = store.item(key, expires: expires) else { continue }
            store.count(.hits)
            answers += "VALUE ".utf8
            answers += key
            reply(" \(item.flags) \(item.value.count)" + (withUnique ? " \(item.unique)" : ""))
            answers += item.value
            answers += [13, 10]
        }
        reply("END")
    }

    private mutating func count(_ arguments: [Bytes], _ isSilent: Bool, _ change: (UInt64, UInt64) -> UInt64) {
        guard arguments.count == 2, let key = key(arguments[0]) else { return reply("ERROR") }
        guard let difference = UInt64(arguments[1].description) else {
            return reply("CLIENT_ERROR invalid numeric delta argument", unless: isSilent)
        }
        var number: UInt64?
        let stored = store.update(key) { item, _ in
            guard var item else { return .failure(.init(stored: .notFound)) }
            guard let old = UInt64(String(decoding: item.value, as: UTF8.self)) else {
                return .failure(.init(stored: .notStored))
            }
            number = change(old, difference)
            item.value = Array("\(number!)".utf8)
            return .success(item)
        }
        switch stored {
        case .stored: reply("\(number!)", unless: isSilent)
        case .notStored: reply("CLIENT_ERROR cannot increment or decrement non-numeric value", unless: isSilent)
        default: reply(stored.rawValue, unless: isSilent)
        }
    }

    /// set, add, replace, append, prepend and cas: KEY FLAGS EXPTIME BYTES [UNIQUE], and the value on lines of its own.
    private mutating func storeValue(
        _ command: String, _ arguments: [Bytes], _ isSilent: Bool, after next: Int
    ) -> Bool {
        let numbers = arguments.dropFirst().map(\.description)
        guard arguments.count == (command == "cas" ? 5 : 4), let length = Int(numbers[2]), length >= 0 else {
            reply(arguments.count < 4 ? "ERROR" : "CLIENT_ERROR bad data chunk")
            position = next
            return true
        }
        guard let key = key(arguments[0]), let flags = UInt32(numbers[0]), let expires = Self.expiry(arguments[2]),
            let unique = command == "cas" ? UInt64(numbers[3]) : 0
        else { return refuse("CLIENT_ERROR bad command line format", length, after: next) }
        if length > store.largest {
            // What the client wanted to replace must not stay as if it were current.
            _ = store.remove(key)
            return refuse("SERVER_ERROR object too large for cache", length, after: next)
        }
        guard input.count - next >= length + 2 else { return false }
        position = next + length + 2
        guard input[next + length] == 13, input[next + length + 1] == 10 else {
            // What comes up to the end of the line belongs to the value that is not one.
            position = input[(next + length)...].firstIndex(of: 10).map { $0 + 1 } ?? input.count
            reply("CLIENT_ERROR bad data chunk")
            return true
        }
        let value = input[next..<next + length]
        store.count(.sets)
        let stored = store.update(key) { old, now in
            var item = Item(value: Array(value), flags: flags, expires: expires, unique: 0, stored: now)
            let refusal: Stored? =
                switch (command, old) {
                case ("add", _?), ("replace", nil), ("append", nil), ("prepend", nil): .notStored
                case ("cas", nil): .notFound
                case ("cas", let old?): old.unique == unique ? nil : .exists
                default: nil
                }
            if let refusal { return .failure(.init(stored: refusal)) }
            if let old, command == "append" || command == "prepend" {
                item = old
                item.value = command == "append" ? old.value + value : value + old.value
                if item.value.count > store.largest { return .failure(.init(stored: .noMemory)) }
            }
            return .success(item)
        }
        if stored == .stored { store.count(.items) }
        reply(stored.rawValue, unless: isSilent)
        return true
    }

    /// Refuses a value, and passes over it.
    private mutating func refuse(_ reason: String, _ length: Int, after next: Int) -> Bool {
        reply(reason)
        position = next
        skipped = length > Int.max - 2 ? .max : length + 2
        return true
    }
}
