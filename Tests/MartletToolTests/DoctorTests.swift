// Each verdict from the numbers that lead to it, and the doctor on this machine.

import Glibc
import Martlet
import Testing

@testable import MartletTool

@Suite struct DoctorTests {
    @Test func `Lists of CPUs, quotas and versions are read as the kernel writes them`() {
        #expect(CPUs.parse("0-3,8,10-11") == [0, 1, 2, 3, 8, 10, 11])
        #expect(CPUs.parse("") == [])
        #expect(Machine.quota("150000 100000") == 1.5)
        #expect(Machine.quota("max 100000") == nil)
        #expect(KernelChecks.version("6.18.44-fc-v769") == (6, 18))
        #expect(KernelChecks.version("5.10") == (5, 10))
        #expect(ProcessStatus("Name:\tmartlet\nCapEff:\t000001ffffffffff\n")["CapEff"] == "000001ffffffffff")
    }

    @Test func `A refused io_uring has a reason and a remedy`() {
        func check(_ errno: Int32, disabled: String? = "0", isFiltered: Bool = false) -> Check {
            KernelChecks.uring(
                .fails(.system(errno: errno, during: "io_uring_setup")), disabled: disabled, isFiltered: isFiltered,
                release: "5.10.0")
        }
        #expect(check(EPERM, disabled: "2").remedy?.contains("kernel.io_uring_disabled=0") == true)
        #expect(check(EPERM, disabled: "1").remedy?.contains("io_uring_group") == true)
        #expect(check(EPERM, isFiltered: true).remedy?.contains("seccomp") == true)
        #expect(check(ENOSYS, isFiltered: true).remedy?.contains("seccomp") == true)
        #expect(check(ENOSYS).detail.contains("not in this kernel (5.10.0)"))
        #expect(check(EINVAL).detail.contains("too old"))
        #expect(check(ENOMEM).remedy?.contains("ulimit -l") == true)
        #expect(check(EPERM).verdict == .warning)
        let works = KernelChecks.uring(
            .works("io_uring (DEFER_TASKRUN)"), disabled: "0", isFiltered: false, release: "6.1")
        #expect(works.verdict == .ok)
    }

    @Test func `One driver of two is enough, and none is not`() {
        let (works, fails) = (KernelChecks.Outcome.works("a driver"), KernelChecks.Outcome.fails(.outOfDescriptors))
        #expect(KernelChecks.driver(ioUring: works, epoll: works).verdict == .ok)
        #expect(KernelChecks.driver(ioUring: fails, epoll: works).verdict == .ok)
        #expect(KernelChecks.driver(ioUring: works, epoll: fails).verdict == .warning)
        #expect(KernelChecks.driver(ioUring: fails, epoll: fails).verdict == .missing)
        #expect(!Doctor.Findings([KernelChecks.driver(ioUring: fails, epoll: fails)]).isReady)
    }

    @Test func `Limits have verdicts`() {
        #expect(LimitChecks.descriptors(.init(soft: 1024, hard: 1_048_576)).verdict == .ok)
        #expect(LimitChecks.descriptors(.init(soft: 1024, hard: Machine.Limit.unlimited)).verdict == .ok)
        #expect(LimitChecks.descriptors(.init(soft: 1024, hard: 1024)).verdict == .warning)
        #expect(LimitChecks.descriptors(.init(soft: 10, hard: 10)).verdict == .missing)
        #expect(LimitChecks.cpus([0, 1], quota: nil).verdict == .ok)
        #expect(LimitChecks.cpus([0, 1], quota: 1.5).remedy?.contains(".count(1)") == true)
        #expect(LimitChecks.cpus([3], quota: nil).verdict == .warning)
        #expect(LimitChecks.backlog("128").verdict == .warning)
        #expect(LimitChecks.backlog("4096").verdict == .ok)
        #expect(LimitChecks.ports("32768\t60999").verdict == .ok)
        #expect(LimitChecks.ports("60000\t60999").verdict == .warning)
        #expect(LimitChecks.lockedMemory(.init(soft: 8 << 20, hard: 8 << 20), []).verdict == .warning)
        #expect(LimitChecks.lockedMemory(.init(soft: 8 << 20, hard: 8 << 20), .ipcLock).verdict == .ok)
    }

    @Test func `Raw packets say which privileges they lack, and nothing else waits for them`() {
        #expect(PacketChecks.tap(errorOfOpening: 0, .netAdmin).verdict == .ok)
        #expect(PacketChecks.tap(errorOfOpening: 0, []).verdict == .warning)
        #expect(PacketChecks.tap(errorOfOpening: ENOENT, .netAdmin).remedy?.contains("modprobe tun") == true)
        #expect(PacketChecks.tap(errorOfOpening: EACCES, []).verdict == .missing)
        #expect(PacketChecks.xdp(errorOfSocket: 0, [.netRaw, .netAdmin, .bpf]).verdict == .ok)
        #expect(PacketChecks.xdp(errorOfSocket: 0, [.netRaw, .netAdmin, .sysAdmin]).verdict == .ok)
        #expect(PacketChecks.xdp(errorOfSocket: EPERM, .netRaw).detail.contains("CAP_NET_ADMIN, CAP_BPF"))
        #expect(Doctor.Findings([PacketChecks.xdp(errorOfSocket: EPERM, [])]).isReady)
    }

    @Test func `This machine is fit, and the doctor says so as text and as JSON`() async throws {
        let findings = Doctor.Findings(await KernelChecks.run() + LimitChecks.run() + PacketChecks.run())
        #expect(findings.isReady, "\(Doctor.text(findings))")
        #expect(Doctor.text(findings, width: 80, isColoured: false).contains("Martlet can run here"))
        #expect(try Doctor.json(findings).contains("\"ready\" : true"))
    }
}
