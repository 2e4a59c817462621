// nio-echo: the echo server on SwiftNIO, as the peer of the comparison. One event loop; `--mode handler` answers in a
// channel handler, `--mode async` in one child task a connection over NIOAsyncChannel, as NIO's documentation shows.
// Options are parsed and the processor is chosen before any other thread starts, so that all of them inherit it.

import ArgumentParser
import NIOCore
import NIOPosix
import PeerSupport

enum Mode: String, ExpressibleByArgument {
    case handler
    case async
}

struct Options: ParsableArguments {
    @Option(help: "Port to listen on, on 127.0.0.1.")
    var port: Int

    @Option(help: "Processor to stay on; none if negative.")
    var cpu: Int32 = -1

    @Option(help: "Event loops.")
    var threads = 1

    @Option(help: "handler or async.")
    var mode = Mode.handler
}

let options = Options.parseOrExit()
_ = peer_raise_file_limit()
peer_pin(options.cpu)

let group = MultiThreadedEventLoopGroup(numberOfThreads: options.threads)
let bootstrap = ServerBootstrap(group: group)
    .serverChannelOption(.backlog, value: PEER_BACKLOG)
    .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
    .serverChannelOption(.maxMessagesPerRead, value: 16)
    .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
    .childChannelOption(.maxMessagesPerRead, value: 16)

switch options.mode {
case .handler: try await serveWithHandlers(bootstrap, port: options.port)
case .async: try await serveWithTasks(bootstrap, port: options.port)
}
