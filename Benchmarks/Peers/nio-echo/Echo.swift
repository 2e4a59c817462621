// The two ways nio-echo answers: a channel handler on the event loop, and a child task a connection over
// NIOAsyncChannel.

import NIOCore
import NIOPosix
import PeerSupport

/// Writes back what it reads, and flushes once for all that was read together.
final class EchoHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        context.write(data, promise: nil)
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        context.flush()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }
}

func serveWithHandlers(_ bootstrap: ServerBootstrap, port: Int) async throws {
    let server =
        try await bootstrap
        .childChannelInitializer { channel in
            channel.eventLoop.makeCompletedFuture {
                try channel.pipeline.syncOperations.addHandler(EchoHandler())
            }
        }
        .bind(host: "127.0.0.1", port: port)
        .get()
    peer_print_ready(Int32(port))
    try await server.closeFuture.get()
}

func serveWithTasks(_ bootstrap: ServerBootstrap, port: Int) async throws {
    let server = try await bootstrap.bind(host: "127.0.0.1", port: port) { channel in
        channel.eventLoop.makeCompletedFuture {
            try NIOAsyncChannel(
                wrappingChannelSynchronously: channel,
                configuration: .init(inboundType: ByteBuffer.self, outboundType: ByteBuffer.self))
        }
    }
    peer_print_ready(Int32(port))
    try await withThrowingDiscardingTaskGroup { group in
        try await server.executeThenClose { connections in
            for try await connection in connections {
                group.addTask { await echo(connection) }
            }
        }
    }
}

/// A connection's failure ends its task, not the server.
private func echo(_ connection: NIOAsyncChannel<ByteBuffer, ByteBuffer>) async {
    do {
        try await connection.executeThenClose { inbound, outbound in
            for try await bytes in inbound {
                try await outbound.write(bytes)
            }
        }
    } catch {}
}
