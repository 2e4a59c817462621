// What the subcommands for links have in common: their options, the names of links, and how a run ends.

import ArgumentParser
import Foundation
import Glibc
import Martlet
import MartletStack
import Synchronization

/// `--burst`, `--seconds`, `--json` and the rest that suits each of them.
struct LinkOptions: ParsableArguments {
    @Option(help: "Frames that are handled at once, 1 to 512.")
    var burst = 32

    @Option(help: "Ends after so many seconds. (default: at Ctrl-C)")
    var seconds: Double?

    @Option(help: "Frames in memory.")
    var frames = 4096

    @Flag(help: "Prints JSON at the end.")
    var json = false

    func validate() throws {
        guard (1...512).contains(burst) else { throw ValidationError("--burst must be 1 ... 512") }
        guard (64...4_194_304).contains(frames), frames >= 4 * burst else {
            throw ValidationError("--frames must be 64 ... 4194304, and four bursts at least")
        }
        if let seconds, seconds <= 0 { throw ValidationError("--seconds must be more than 0") }
    }

    /// What to open links with: an arena as good as this machine gives.
    ///
    /// - Parameter longest: Bytes of the longest frame that is to fit, if that is more than a link needs.
    func makePool(longest: Int = 0) throws -> FramePool {
        let needed = longest + FramePool.defaultHeadroom
        var capacity = 2048
        while capacity < needed { capacity *= 2 }
        return try FrameArena(count: frames, capacity: capacity).makePool()
    }
}

/// The name of a link on the command line.
struct LinkArgument: ExpressibleByArgument {
    let name: LinkName

    init?(argument: String) {
        do throws(LinkError) {
            name = try LinkName(argument)
        } catch {
            Mistakes.show("\(error)")
            return nil
        }
    }

    static let help: ArgumentHelp =
        "null:NAME, memory:NAME, tap:NAME, tun:NAME, packet:IFNAME or xdp:IFNAME[/QUEUE]."
}

/// Ctrl-C, or SIGTERM: the first ends a run in good order, the second at once.
enum Interrupt {
    private static let count = Atomic(0)

    static var hasCome: Bool { count.load(ordering: .relaxed) > 0 }

    static func watch() {
        _ = hasCome
        for number in [SIGINT, SIGTERM] {
            signal(number) { number in
                if Interrupt.count.wrappingAdd(1, ordering: .relaxed).oldValue > 0 { _exit(128 + number) }
            }
        }
    }
}
