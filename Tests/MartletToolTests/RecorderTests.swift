import Testing

@testable import MartletTool

@Suite("What a run records")
struct RecorderTests {
    @Test("counts answers by when they came, and latencies by when their requests began")
    func window() {
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

    @Test("charges an unanswered request with the time it has waited")
    func unanswered() {
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

    @Test("does not take a request for a fast one because its connection broke")
    func broken() {
        let window = Window()
        let recorder = Recorder(window)
        let now = Clock.now
        window.open(from: now - 1_000_000_000, to: now + 1_000_000_000_000)
        recorder.unanswered([now])
        #expect(recorder.current.unanswered == 1)
        #expect(recorder.current.latencies.count == 0)
    }
}

@Suite("The plan of a run")
struct LoadPlanTests {
    @Test("says what is wrong with it")
    func mistakes() {
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
