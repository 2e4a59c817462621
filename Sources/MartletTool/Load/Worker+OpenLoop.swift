// The open loop on one connection: one task sends when the schedule says so, whatever has become of the requests before, and
// another receives. Answers come in the order of the requests, so the number of an answer says when it was due.

import Martlet
import Synchronization

extension Worker {
    func runOpenLoop(on connection: TCPConnection) async throws {
        guard let lane = await lane() else { return }
        // A connection that replaces a broken one goes on with what the schedule had meanwhile: late, and counted so.
        let first = progress.sent.load(ordering: .relaxed)
        progress.settled.store(first, ordering: .relaxed)
        defer {
            let (settled, sent) = (progress.settled.load(ordering: .relaxed), progress.sent.load(ordering: .relaxed))
            abandon((settled..<sent).lazy.map(lane.instant))
        }
        try await withThrowingDiscardingTaskGroup { group in
            group.addTask { try await send(on: connection, lane, from: first) }
            group.addTask { try await receive(on: connection, lane, from: first) }
        }
    }

    private func send(on connection: TCPConnection, _ lane: Schedule.Lane, from first: Int) async throws {
        var sender = PatternSender(connection, pattern, index: index)
        var number = first
        while case let due = lane.instant(of: number), due < window.end {
            let now = Clock.now
            if due > now {
                try await core.sleep(for: .nanoseconds(due - now))
            } else {
                recorder.sentLate(now - due, due: due)
                number += 1
                progress.sent.store(number, ordering: .relaxed)
                try await sender.send(plan.size)
            }
        }
    }

    private func receive(on connection: TCPConnection, _ lane: Schedule.Lane, from first: Int) async throws {
        var receiver = PatternReceiver(connection, pattern, index: index)
        var number = first
        while lane.instant(of: number) < window.end {
            try await receiver.receive()
            let now = Clock.now
            while (number - first + 1) * plan.size <= receiver.count {
                recorder.answered(from: lane.instant(of: number), to: now, bytes: plan.size)
                number += 1
            }
            progress.settled.store(number, ordering: .relaxed)
        }
    }
}
