// What counts for a measurement, and what does not.

import Testing

@testable import MartletTool

@Suite struct RecorderTests {
    @Test func `Answers count by when they came, latencies by when their requests began`() {
        let window = Window()
        let recorder = Recorder(window)
        recorder.answered(from: 1, to: 2, bytes: 10)
        window.open(from: 100, to: 200)
        recorder.answered(from: 50, to: 150, bytes: 10)
        recorder.answered(from: 110, to: 120, bytes: 10)
        recorder.answered(from: 190, to: 230, bytes: 10)
        recorder.answered(from: 200, to: 240, bytes: 10)
        let record = recorder.current
        #expect(record.answers == 5)
        #expect(record.bytes == 50)
        #expect(record.answersInWindow == 2)
        #expect(record.latencies.count == 2)
        #expect(record.latencies.max == 40)
    }

    @Test func `A request that is never answered is charged with the time it has waited`() {
        let window = Window()
        let recorder = Recorder(window)
        let now = Clock.now
        window.open(from: now - 3_000_000_000, to: now - 2_000_000_000)
        recorder.unanswered([now - 4_000_000_000, now - 2_500_000_000, now - 1_000_000_000])
        let record = recorder.current
        #expect(record.unanswered == 1)
        #expect(record.latencies.count == 1)
        #expect(record.latencies.min >= 2_490_000_000)
    }

    @Test func `A request whose connection broke does not pass for a fast one`() {
        let window = Window()
        let recorder = Recorder(window)
        let now = Clock.now
        window.open(from: now - 1_000_000_000, to: now + 1_000_000_000_000)
        recorder.unanswered([now])
        #expect(recorder.current.unanswered == 1)
        #expect(recorder.current.latencies.count == 0)
    }
}

@Suite struct LoadPlanTests {
    @Test func `A plan that cannot be carried out names the option that is wrong`() {
        #expect(LoadPlan().mistake == nil)
        let mistakes: [(inout LoadPlan) -> Void] = [
            { $0.connections = 0 }, { $0.size = 0 }, { $0.size = 1 << 30 }, { $0.depth = 0 }, { $0.seconds = 0 },
            { $0.seconds = .nan }, { $0.warmup = -1 }, { $0.rate = 0 }, { $0.rate = .infinity },
            {
                $0.size = 1 << 20
                $0.depth = 65
            },
            {
                $0.rate = 1
                $0.mode = .pipeline
            },
        ]
        for make in mistakes {
            var plan = LoadPlan()
            make(&plan)
            #expect(plan.mistake?.contains("--") == true, "\(plan)")
        }
    }
}
