import Glibc
import Testing

@testable import MartletStack

@Suite struct NetsimTests {
    static let isWriting = unsafe getenv("MARTLET_WRITE_TABLES") != nil

    /// One column of each part of the table: the buffers.
    @Test(
        "every transfer of the matrix ends with its bytes intact, and about as fast as the table says",
        .disabled(if: isWriting),
        arguments: NetsimCell.roundTrips, NetsimCell.losses)
    func matrix(roundTrip: Int, loss: Double) throws {
        let table = try #require(NetsimTable(path: NetsimTable.path), "\(NetsimTable.path) is missing")
        var ratios = 1.0
        for buffer in NetsimCell.buffers {
            let cell = NetsimCell(buffer: buffer, loss: loss, roundTrip: roundTrip)
            let expected = try #require(table.goodput[cell], "\(cell) is not in the table")
            let ratio = cell.run() / 1000 / expected
            ratios *= ratio
            #expect(ratio > (loss == 0 ? 0.8 : 0.25), "\(cell): \(ratio) of the \(expected) kB/s in the table")
        }
        // What is chance in a cell is not in all of them together.
        let mean = pow(ratios, 1 / Double(NetsimCell.buffers.count))
        #expect(mean > (loss == 0 ? 0.95 : 0.6), "\(loss) %, \(roundTrip) ms: \(mean) of the table on average")
    }

    @Test("the table is written", .enabled(if: isWriting))
    func write() {
        var table = NetsimTable()
        for roundTrip in NetsimCell.roundTrips {
            for loss in NetsimCell.losses {
                for buffer in NetsimCell.buffers {
                    let cell = NetsimCell(buffer: buffer, loss: loss, roundTrip: roundTrip)
                    table.goodput[cell] = cell.run() / 1000
                }
            }
        }
        #expect(table.write(to: NetsimTable.path), "\(NetsimTable.path) cannot be written")
    }
}
