import Testing

@testable import MartletStack

@Suite struct InfoTests {
    @Test("TCP_INFO of a connection on which nothing was lost, under Linux's names")
    func clean() throws {
        try ScriptRunner.play(
            """
            0 listen() = 0
            +0 < S 0:0(0) win 65535 <mss 1000,sackOK,nop,nop,nop,wscale 3>
            +0 > S. 0:0(0) ack 1 <...>
            +.1 < . 1:1(0) ack 1 win 8000
            +0 accept() = 0
            +0 %{ rtt == 100000, rttvar == 50000, min_rtt == 100000, snd_mss == 1000, snd_cwnd == 10, options == 6 }%
            +0 %{ snd_wscale == 3, rcv_wscale == 7, snd_wnd == 64000, ca_state == 0, pmtu == 1040, advmss == 1460 }%
            +0 write(12000) = 12000
            +0 > . 1:1001(1000) ack 1
            +0 > . 1001:2001(1000) ack 1
            +0 > . 2001:3001(1000) ack 1
            +0 > . 3001:4001(1000) ack 1
            +0 > . 4001:5001(1000) ack 1
            +0 > . 5001:6001(1000) ack 1
            +0 > . 6001:7001(1000) ack 1
            +0 > . 7001:8001(1000) ack 1
            +0 > . 8001:9001(1000) ack 1
            +0 > . 9001:10001(1000) ack 1
            +0 %{ unacked == 10, notsent_bytes == 2000, segs_out == 11, segs_in == 1, total_retrans == 0 }%
            +0 %{ last_ack_recv == 0 }%
            +.05 %{ last_ack_recv >= 48, last_ack_recv <= 52 }%
            +.05 < P. 1:101(100) ack 10001 win 8000
            +0 > . 10001:11001(1000) ack 101
            +0 > P. 11001:12001(1000) ack 101
            +0 %{ bytes_received == 100, unacked == 2, notsent_bytes == 0, snd_cwnd > 10 }%
            +.1 < . 101:101(0) ack 12001 win 8000
            +0 %{ unacked == 0, segs_in == 3 }%
            """)
    }

    @Test("TCP_INFO while loss is repaired, and while nothing is acknowledged")
    func loss() throws {
        try ScriptRunner.play(
            OptionScriptTests.withSACK + """
                +0 write(5000) = 5000
                +0 > . 1:1001(1000) ack 1
                +0 > . 1001:2001(1000) ack 1
                +0 > . 2001:3001(1000) ack 1
                +0 > . 3001:4001(1000) ack 1
                +0 > P. 4001:5001(1000) ack 1
                +.1 < . 1:1(0) ack 1 win 65535 <nop,nop,sack 1001:4001>
                +0 > P. 1:1001(1000) ack 1
                +0 %{ sacked == 3, unacked == 5, retrans == 1, lost == 0, ca_state == 3, total_retrans == 1 }%
                +.1 < . 1:1(0) ack 5001 win 65535
                +0 %{ sacked == 0, ca_state == 0, tcpi_retransmits == 0 }%
                +0 write(1000) = 1000
                +0 > P. 5001:6001(1000) ack 1
                * > P. 5001:6001(1000) ack 1
                * > P. 5001:6001(1000) ack 1
                +0 %{ tcpi_retransmits == 1, ca_state == 4, retrans == 1 }%
                * > P. 5001:6001(1000) ack 1
                +0 %{ tcpi_retransmits == 2, backoff == 2 }%
                """)
    }

    @Test("probes of a closed window are probes, and no retransmissions")
    func probes() throws {
        try ScriptRunner.play(
            ScriptTests.accepted + """
                +0 < . 1:1(0) ack 1 win 0
                +0 write(100) = 100
                * > . 1:2(1) ack 1
                * > . 1:2(1) ack 1
                +0 %{ probes == 2, tcpi_retransmits == 0, backoff == 2 }%
                +0 < . 1:1(0) ack 1 win 0
                +0 %{ probes == 0 }%
                """)
    }

    @Test("every byte is counted once, whatever way it came", arguments: 0..<5 as Range<UInt64>)
    func counts(seed: UInt64) throws {
        var pair = try LifetimeTests.established(seed: seed)
        pair.conditions = WireConditions(lost: 50, late: 100, doubled: 50)
        _ = BufferTuningTests.transfer(&pair, 100_000)
        let info = pair.server.info(of: pair.serverID!)!
        #expect(info.bytesReceived == 100_000, "seed \(seed)")
        #expect(pair.client.info(of: pair.clientID!)!.totalRetrans > 0, "seed \(seed)")
    }

    @Test("there is nothing to know of a connection that is not there")
    func gone() throws {
        var pair = try LifetimeTests.established()
        let client = pair.clientID!
        pair.client.abort(client)
        #expect(pair.client.info(of: client)?.state == .closed)
        pair.client.release(client)
        _ = LifetimeTests.events(&pair, .client)
        while pair.client.nextEvent() != nil {}
        #expect(pair.client.info(of: client) == nil)
    }
}
