// The servers compared, and how each is started.

/// In the order in which they take their turns: those whose figures are divided by each other stand side by side.
enum Server: String, CaseIterable, Sendable {
    case uring
    case epoll
    case martlet
    case martletLoop = "martlet-loop"
    case martletEpoll = "martlet-epoll"
    case nioAsync = "nio-async"
    case nioHandler = "nio-handler"
    case martletTwoCores = "martlet-2-cores"

    static let singleCore = allCases.filter { $0 != .martletTwoCores }

    var title: String {
        switch self {
        case .uring: "C, io_uring"
        case .epoll: "C, epoll"
        case .martlet: "Martlet"
        case .martletLoop: "Martlet, accept loop by hand"
        case .martletEpoll: "Martlet, epoll driver"
        case .nioAsync: "SwiftNIO, NIOAsyncChannel"
        case .nioHandler: "SwiftNIO, channel handler"
        case .martletTwoCores: "Martlet, two cores"
        }
    }

    var isMartlet: Bool {
        executable == "martlet-echo"
    }

    /// Its name beside `compare`'s own executable.
    var executable: String {
        switch self {
        case .uring: "uring-echo"
        case .epoll: "epoll-echo"
        case .nioAsync, .nioHandler: "nio-echo"
        case .martlet, .martletLoop, .martletEpoll, .martletTwoCores: "martlet-echo"
        }
    }

    var arguments: [String] {
        switch self {
        case .uring, .epoll: []
        case .nioAsync: ["--mode", "async"]
        case .nioHandler: ["--mode", "handler"]
        case .martlet, .martletEpoll: ["--mode", "serve"]
        case .martletLoop: ["--mode", "loop"]
        case .martletTwoCores: ["--mode", "serve", "--cores", "2"]
        }
    }

    var environment: [String: String] {
        self == .martletEpoll ? ["MARTLET_DRIVER": "epoll"] : [:]
    }
}
