/* tests/unit/os/test_system.c - texts of /proc and control groups, of old and new kernels. */
#include "os/system.h"

#include "vv_test.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define ABSENT VV_SYSTEM_ABSENT
#define TEXT(s) vv_str_from(s)

static struct vv_system s;

VV_TEST(stat_gives_the_time_of_each_mode_and_counts_processors)
{
    vv_system_clear(&s);
    /* Linux 6.1; ticks of 10 ms */
    vv_system_parse_stat(TEXT("cpu  100 20 30 4000 50 6 7 8 9 10\n"
                              "cpu0 50 10 15 2000 25 3 3 4 5 5\n"
                              "cpu1 50 10 15 2000 25 3 4 4 4 5\n"
                              "intr 99 1 2 3\nctxt 385243067\nbtime 1795247950\n"
                              "processes 4655064\nprocs_running 6\nprocs_blocked 1\n"
                              "softirq 5 1 2\n"),
                         100, &s.cpu);
    VV_CHECK_INT(s.cpu.mode_ns[VV_SYSTEM_MODE_USER], VV_SEC); /* 100 ticks */
    VV_CHECK_INT(s.cpu.mode_ns[VV_SYSTEM_MODE_NICE], VV_SEC / 5);
    VV_CHECK_INT(s.cpu.mode_ns[VV_SYSTEM_MODE_IDLE], 40 * VV_SEC);
    VV_CHECK_INT(s.cpu.mode_ns[VV_SYSTEM_MODE_STEAL], 80 * VV_MS);
    VV_CHECK_INT(s.cpu.processors, 2);
    VV_CHECK_INT(s.cpu.switches, 385243067);
    VV_CHECK_INT(s.cpu.boot_s, 1795247950);
    VV_CHECK_INT(s.cpu.forks, 4655064);
    VV_CHECK_INT(s.cpu.running, 6);
    VV_CHECK_INT(s.cpu.blocked, 1);
}

VV_TEST(what_an_old_stat_does_not_say_is_absent)
{
    vv_system_clear(&s);
    /* Linux 2.4: four columns, one processor without a line of its own */
    vv_system_parse_stat(TEXT("cpu 1 2 3 4\npage 5 6\nctxt x\n"), 100, &s.cpu);
    VV_CHECK_INT(s.cpu.mode_ns[VV_SYSTEM_MODE_IDLE], 40 * VV_MS);
    VV_CHECK(s.cpu.mode_ns[VV_SYSTEM_MODE_IOWAIT] == ABSENT);
    VV_CHECK(s.cpu.mode_ns[VV_SYSTEM_MODE_STEAL] == ABSENT);
    VV_CHECK(s.cpu.processors == ABSENT);
    VV_CHECK(s.cpu.switches == ABSENT); /* no number */
    VV_CHECK(s.cpu.forks == ABSENT);
    /* 2^64 / 10^7 ticks is more than fits into nanoseconds */
    vv_system_parse_stat(TEXT("cpu 18446744073709551615 2 3 4\n"), 100, &s.cpu);
    VV_CHECK(s.cpu.mode_ns[VV_SYSTEM_MODE_USER] == ABSENT);
}

VV_TEST(loadavg_is_read_in_thousandths)
{
    vv_system_clear(&s);
    vv_system_parse_loadavg(TEXT("2.27 3.8 14 3/412 12345\n"), &s.cpu);
    VV_CHECK_INT(s.cpu.load1_milli, 2270);
    VV_CHECK_INT(s.cpu.load5_milli, 3800);
    VV_CHECK_INT(s.cpu.load15_milli, 14000);
    vv_system_parse_loadavg(TEXT("nonsense"), &s.cpu);
    VV_CHECK(s.cpu.load1_milli == ABSENT && s.cpu.load15_milli == ABSENT);
}

VV_TEST(meminfo_is_in_units_of_1024)
{
    vv_system_clear(&s);
    vv_system_parse_meminfo(TEXT("MemTotal:       16384 kB\nMemFree:  1 kB\nBuffers: 2 kB\n"
                                 "Cached:          300 kB\nSwapCached:        7 kB\n"
                                 "Active(anon):  5 kB\nSwapTotal:      0 kB\nSwapFree: 0 kB\n"
                                 "Committed_AS:   4 kB\nHugePages_Total:       0\n"),
                            &s.memory);
    VV_CHECK_INT(s.memory.total_bytes, 16384 * 1024);
    VV_CHECK_INT(s.memory.free_bytes, 1024);
    VV_CHECK_INT(s.memory.cached_bytes, 300 * 1024); /* not SwapCached */
    VV_CHECK_INT(s.memory.committed_bytes, 4 * 1024);
    VV_CHECK_INT(s.memory.swap_total_bytes, 0);
    VV_CHECK(s.memory.available_bytes == ABSENT); /* since Linux 3.14 */
}

VV_TEST(vmstat_counts_pages)
{
    vv_system_clear(&s);
    vv_system_parse_vmstat(TEXT("nr_free_pages 1\npswpin 2\npswpout 3\npgmajfault 4\n"), 4096,
                           &s.vm);
    VV_CHECK_INT(s.vm.swapped_in_bytes, 8192);
    VV_CHECK_INT(s.vm.swapped_out_bytes, 12288);
    VV_CHECK_INT(s.vm.major_faults, 4);
    VV_CHECK(s.vm.oom_kills == ABSENT); /* since Linux 4.13 */
}

VV_TEST(diskstats_has_whole_disks_of_all_kernels)
{
    struct vv_system_disk disk[8];
    /* 14 columns until 4.17, 18 since, 20 since 5.5 */
    const size_t n = vv_system_parse_diskstats(
        TEXT("   7       0 loop0 1 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n"
             " 254       0 vda 10 1 20 30 40 2 50 60 7 80 90 1 2 3 4 5 6\n"
             " 254       1 vda1 10 1 20 30 40 2 50 60 7 80 90 1 2 3 4 5 6\n"
             " 259       0 nvme0n1 1 0 8 2 0 0 0 0 0 2 2\n"
             " 259       1 nvme0n1p1 1 0 8 2 0 0 0 0 0 2 2\n"
             " 259       2 nvme0c1n1 1 0 8 2 0 0 0 0 0 2 2\n"
             " 179       0 mmcblk0 1 0 8 2 0 0 0 0 0 2 2\n 179 1 mmcblk0p1 1 0 8 2\n"
             " 253       0 dm-0 1 0 8 2 0 0 0 0 0 2 2\n"
             "   9     127 md127 1 0 8 2 0 0 0 0 0 2 2\n   9 1 md127p1 1 0 8 2 0 0 0 0 0 2 2\n"
             " 251       0 zram0 1 0 8 2 0 0 0 0 0 2 2\n  11 0 sr0 1 0 8 2 0 0 0 0 0 2 2\n"),
        disk, VV_COUNT(disk));
    VV_CHECK_INT(n, 5);
    VV_CHECK_STR(disk[0].name, "vda");
    VV_CHECK_STR(disk[1].name, "nvme0n1");
    VV_CHECK_STR(disk[2].name, "mmcblk0");
    VV_CHECK_STR(disk[3].name, "dm-0");
    VV_CHECK_STR(disk[4].name, "md127");
    VV_CHECK_INT(disk[0].reads, 10);
    VV_CHECK_INT(disk[0].read_bytes, 20 * 512); /* sectors */
    VV_CHECK_INT(disk[0].read_ns, 30 * VV_MS);
    VV_CHECK_INT(disk[0].writes, 40);
    VV_CHECK_INT(disk[0].written_bytes, 50 * 512);
    VV_CHECK_INT(disk[0].write_ns, 60 * VV_MS);
    VV_CHECK_INT(disk[0].now, 7);
    VV_CHECK_INT(disk[0].busy_ns, 80 * VV_MS);
    VV_CHECK_INT(disk[0].weighted_ns, 90 * VV_MS);
}

VV_TEST(no_more_devices_than_there_is_room_for)
{
    struct vv_system_disk disk[2];
    struct vv_system_nic nic[1];
    VV_CHECK_INT(vv_system_parse_diskstats(TEXT("8 0 sda 1\n8 1 sdb 2\n8 2 sdc 3\n"), disk, 2), 2);
    VV_CHECK_STR(disk[1].name, "sdb");
    VV_CHECK(disk[1].read_bytes == ABSENT); /* the line is cut */
    VV_CHECK_INT(vv_system_parse_net_dev(TEXT("a: 1\nb: 2\n"), nic, 1), 1);
    VV_CHECK_STR(nic[0].name, "a");
    /* 31 bytes fit, 32 do not */
    VV_CHECK_INT(vv_system_parse_net_dev(TEXT("a234567890123456789012345678901:1\n"), nic, 1), 1);
    VV_CHECK_INT(vv_system_parse_net_dev(TEXT("a2345678901234567890123456789012:1\n"), nic, 1), 0);
}

VV_TEST(net_dev_is_read_with_and_without_a_space_behind_the_colon)
{
    struct vv_system_nic nic[4];
    const size_t n = vv_system_parse_net_dev(
        TEXT("Inter-|   Receive                 |  Transmit\n"
             " face |bytes    packets errs drop fifo frame compressed multicast|bytes\n"
             "    lo: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n"
             "  eth0:100 20 0 0 0 0 0 0 900 30 0 0 0 0 0 0\n"
             "eth0:1: 5 6 7 8 0 0 0 0 1 2 3 4 0 0 0 0\n"),
        nic, VV_COUNT(nic));
    VV_CHECK_INT(n, 3);
    VV_CHECK_STR(nic[0].name, "lo");
    VV_CHECK_INT(nic[0].in_bytes, 1);
    VV_CHECK_INT(nic[0].in_packets, 2);
    VV_CHECK_INT(nic[0].in_errors, 3);
    VV_CHECK_INT(nic[0].in_dropped, 4);
    VV_CHECK_INT(nic[0].out_bytes, 9);
    VV_CHECK_INT(nic[0].out_packets, 10);
    VV_CHECK_INT(nic[0].out_errors, 11);
    VV_CHECK_INT(nic[0].out_dropped, 12);
    VV_CHECK_STR(nic[1].name, "eth0");
    VV_CHECK_INT(nic[1].in_bytes, 100);
    VV_CHECK_INT(nic[1].out_bytes, 900);
    VV_CHECK_STR(nic[2].name, "eth0:1");
}

VV_TEST(snmp_and_netstat_find_values_by_the_names_above_them)
{
    vv_system_clear(&s);
    vv_system_parse_snmp(TEXT("Ip: Forwarding DefaultTTL\nIp: 2 64\n"
                              "Tcp: RtoAlgorithm MaxConn ActiveOpens PassiveOpens AttemptFails "
                              "EstabResets CurrEstab InSegs OutSegs RetransSegs InErrs OutRsts\n"
                              "Tcp: 1 -1 10 20 30 40 50 60 70 80 90 100\n"
                              "Udp: InErrors\nUdp: 3\n"),
                         &s.tcp);
    VV_CHECK_INT(s.tcp.opened, 10);
    VV_CHECK_INT(s.tcp.accepted, 20);
    VV_CHECK_INT(s.tcp.failed, 30);
    VV_CHECK_INT(s.tcp.reset, 40);
    VV_CHECK_INT(s.tcp.established, 50);
    VV_CHECK_INT(s.tcp.in_segments, 60);
    VV_CHECK_INT(s.tcp.out_segments, 70);
    VV_CHECK_INT(s.tcp.retransmitted, 80);
    VV_CHECK_INT(s.tcp.in_errors, 90);
    VV_CHECK_INT(s.tcp.out_resets, 100);
    VV_CHECK(s.tcp.listen_drops == ABSENT);
    vv_system_parse_snmp(TEXT("TcpExt: SyncookiesSent ListenOverflows ListenDrops TCPTimeouts\n"
                              "TcpExt: 1 2 3 4\nIpExt: InNoRoutes\nIpExt: 9\n"),
                         &s.tcp);
    VV_CHECK_INT(s.tcp.listen_overflows, 2);
    VV_CHECK_INT(s.tcp.listen_drops, 3);
    VV_CHECK_INT(s.tcp.timeouts, 4);
    VV_CHECK(s.tcp.syn_retransmits == ABSENT);
    VV_CHECK_INT(s.tcp.opened, 10); /* the other file's numbers stay */
}

VV_TEST(a_line_of_names_without_values_is_passed_over)
{
    vv_system_clear(&s);
    vv_system_parse_snmp(TEXT("Tcp: ActiveOpens\nUdp: X\nUdp: 1\nTcp: PassiveOpens\nTcp: 7\nTcp:"),
                         &s.tcp);
    VV_CHECK(s.tcp.opened == ABSENT);
    VV_CHECK_INT(s.tcp.accepted, 7);
}

VV_TEST(pressure_gives_totals)
{
    vv_system_clear(&s);
    vv_system_parse_pressure(TEXT("some avg10=24.34 avg60=20.40 avg300=39.55 total=18232022\n"
                                  "full avg10=0.00 avg60=0.00 avg300=0.00 total=5\n"),
                             &s.cpu_pressure);
    VV_CHECK_INT(s.cpu_pressure.waiting_ns, UINT64_C(18232022) * VV_US);
    VV_CHECK_INT(s.cpu_pressure.stalled_ns, 5 * VV_US);
    /* of the CPU, kernels before 5.13 know no "full" */
    vv_system_parse_pressure(TEXT("some avg10=0.00 avg60=0.00 avg300=0.00 total=1\n"),
                             &s.io_pressure);
    VV_CHECK_INT(s.io_pressure.waiting_ns, VV_US);
    VV_CHECK(s.io_pressure.stalled_ns == ABSENT);
}

VV_TEST(the_process_is_read_from_three_files)
{
    vv_system_clear(&s);
    vv_system_parse_self_stat(TEXT("7 (a) S 1 (b) S 1 7 7 0 -1 4194304 100 0 3 0 250 50 0 0 20 -5 "
                                   "12 0 4200 8192000 500 1\n"),
                              &s.process);
    VV_CHECK_INT(s.process.minor_faults, 100);
    VV_CHECK_INT(s.process.major_faults, 3);
    VV_CHECK_INT(s.process.threads, 12);
    vv_system_parse_self_status(TEXT("Name:\tvivace\nVmHWM:\t    2048 kB\nVmSwap:\t  4 kB\n"),
                                &s.process);
    VV_CHECK_INT(s.process.peak_bytes, 2048 * 1024);
    VV_CHECK_INT(s.process.swap_bytes, 4096);
    vv_system_parse_self_io(TEXT("rchar: 1\nwchar: 2\nread_bytes: 4096\nwrite_bytes: 8192\n"
                                 "cancelled_write_bytes: 5\n"),
                            &s.process);
    VV_CHECK_INT(s.process.disk_read_bytes, 4096);
    VV_CHECK_INT(s.process.disk_written_bytes, 8192);
}

VV_TEST(the_path_of_a_control_group_is_found_in_both_versions)
{
    const struct vv_str v1 = TEXT("9:name=systemd:/a\n4:memory:/b:c\n2:cpu,cpuacct:/d\n0::/e\n");
    VV_CHECK_SLICE(vv_system_cgroup_path(v1, VV_STR("cpu")), "/d");
    VV_CHECK_SLICE(vv_system_cgroup_path(v1, VV_STR("cpuacct")), "/d");
    VV_CHECK_SLICE(vv_system_cgroup_path(v1, VV_STR("memory")), "/b:c");
    VV_CHECK_SLICE(vv_system_cgroup_path(v1, VV_STR("")), "/e");
    VV_CHECK_INT(vv_system_cgroup_path(v1, VV_STR("cpuset")).n, 0);
    VV_CHECK_INT(vv_system_cgroup_path(TEXT("0:\n1\n:::\n"), VV_STR("")).n, 0);
}

VV_TEST(limits_of_control_groups_are_read_in_both_versions)
{
    VV_CHECK_INT(vv_system_parse_cpu_max(TEXT("150000 100000\n")), 1500);
    VV_CHECK(vv_system_parse_cpu_max(TEXT("max 100000\n")) == ABSENT);
    VV_CHECK(vv_system_parse_cpu_max(TEXT("1 0\n")) == ABSENT);
    VV_CHECK_INT(vv_system_parse_cpu_quota(TEXT("50000\n"), TEXT("100000\n")), 500);
    VV_CHECK(vv_system_parse_cpu_quota(TEXT("-1\n"), TEXT("100000\n")) == ABSENT);
    VV_CHECK_INT(vv_system_parse_number(TEXT("1048576\n")), 1048576);
    VV_CHECK(vv_system_parse_number(TEXT("max\n")) == ABSENT);
    VV_CHECK(vv_system_parse_number(TEXT("9223372036854771712\n")) == ABSENT);
    VV_CHECK(vv_system_parse_number(TEXT("")) == ABSENT);
}

VV_TEST(throttling_is_in_microseconds_or_nanoseconds)
{
    vv_system_clear(&s);
    vv_system_parse_cpu_stat(TEXT("usage_usec 7\nuser_usec 5\nsystem_usec 2\nnr_periods 10\n"
                                  "nr_throttled 4\nthrottled_usec 9\n"),
                             &s.cgroup);
    VV_CHECK_INT(s.cgroup.cpu_ns, 7000);
    VV_CHECK_INT(s.cgroup.periods, 10);
    VV_CHECK_INT(s.cgroup.throttled, 4);
    VV_CHECK_INT(s.cgroup.throttled_ns, 9000);
    vv_system_parse_cpu_stat(TEXT("nr_periods 1\nnr_throttled 2\nthrottled_time 3\n"), &s.cgroup);
    VV_CHECK_INT(s.cgroup.throttled_ns, 3);
    vv_system_parse_memory_events(TEXT("low 0\nhigh 1\nmax 2\noom 3\noom_kill 4\n"), &s.cgroup);
    VV_CHECK_INT(s.cgroup.memory_failures, 2);
    VV_CHECK_INT(s.cgroup.oom_kills, 4);
}

/* --------------------------------------------------------- the readers, on made-up trees */

static char base[64], proc_dir[80], group_dir[80];

static void put_file(const char *dir, const char *name, const char *text)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    for (char *c = path + strlen(base) + 1; (c = strchr(c, '/')) != NULL; c++) {
        *c = '\0';
        (void)mkdir(path, 0700);
        *c = '/';
    }
    FILE *f = fopen(path, "we");
    VV_CHECK(f != NULL);
    fputs(text, f);
    fclose(f);
}

static void tree(void)
{
    snprintf(base, sizeof(base), "/tmp/vv-system-XXXXXX");
    VV_CHECK(mkdtemp(base) != NULL);
    snprintf(proc_dir, sizeof(proc_dir), "%s/proc", base);
    snprintf(group_dir, sizeof(group_dir), "%s/group", base);
}

static void fell(void)
{
    char command[128];
    snprintf(command, sizeof(command), "rm -rf '%s'", base);
    VV_CHECK_INT(system(command), 0);
}

VV_TEST(nothing_to_read_leaves_everything_absent)
{
    tree();
    memset(&s, 0, sizeof(s));
    vv_system_read(proc_dir, group_dir, &s);
    VV_CHECK(s.cpu.switches == ABSENT && s.memory.total_bytes == ABSENT);
    VV_CHECK(s.process.threads == ABSENT && s.cgroup.memory_limit_bytes == ABSENT);
    VV_CHECK_INT(s.disks + s.nics, 0);
    fell();
}

VV_TEST(version_2_takes_the_tightest_limit_up_to_the_root)
{
    tree();
    put_file(proc_dir, "self/cgroup", "0::/a/b\n");
    put_file(group_dir, "a/cpu.max", "50000 100000\n");
    put_file(group_dir, "a/memory.max", "max\n");
    put_file(group_dir, "a/b/cpu.max", "max 100000\n");
    put_file(group_dir, "a/b/memory.max", "1000\n");
    put_file(group_dir, "a/b/memory.current", "600\n");
    put_file(group_dir, "a/b/cpu.stat", "usage_usec 3\n");
    put_file(group_dir, "cpu.stat", "usage_usec 4000\n");
    vv_system_read(proc_dir, group_dir, &s);
    VV_CHECK_INT(s.cgroup.cpu_limit_milli, 500);
    VV_CHECK_INT(s.cgroup.memory_limit_bytes, 1000);
    VV_CHECK_INT(s.cgroup.memory_bytes, 600);
    VV_CHECK_INT(s.cgroup.cpu_ns, 3000); /* its own, not that of the root */
    fell();
}

VV_TEST(a_path_outside_the_view_means_the_group_that_the_mount_shows)
{
    tree();
    put_file(group_dir, "cpu.max", "200000 100000\n");
    put_file(group_dir, "memory.current", "5\n");
    put_file(base, "memory.current", "77\n"); /* where "/.." would lead */
    put_file(proc_dir, "self/cgroup", "0::/docker/123\n");
    vv_system_read(proc_dir, group_dir, &s);
    VV_CHECK_INT(s.cgroup.cpu_limit_milli, 2000);
    VV_CHECK_INT(s.cgroup.memory_bytes, 5);
    put_file(proc_dir, "self/cgroup", "0::/..\n");
    vv_system_read(proc_dir, group_dir, &s);
    VV_CHECK_INT(s.cgroup.memory_bytes, 5);
    fell();
}

VV_TEST(version_1_has_a_tree_per_controller)
{
    tree();
    put_file(proc_dir, "self/cgroup", "4:memory:/m\n2:cpu,cpuacct:/c\n0::/\n");
    put_file(group_dir, "cpu,cpuacct/c/cpu.cfs_quota_us", "25000\n");
    put_file(group_dir, "cpu,cpuacct/c/cpu.cfs_period_us", "100000\n");
    put_file(group_dir, "cpu,cpuacct/c/cpu.stat", "nr_periods 8\nnr_throttled 2\n");
    put_file(group_dir, "cpu,cpuacct/c/cpuacct.usage", "123456789\n");
    put_file(group_dir, "memory/m/memory.limit_in_bytes", "4096\n");
    put_file(group_dir, "memory/m/memory.usage_in_bytes", "2048\n");
    put_file(group_dir, "memory/m/memory.failcnt", "6\n");
    put_file(group_dir, "memory/m/memory.oom_control", "oom_kill_disable 0\noom_kill 1\n");
    put_file(group_dir, "memory/memory.limit_in_bytes", "9223372036854771712\n");
    vv_system_read(proc_dir, group_dir, &s);
    VV_CHECK_INT(s.cgroup.cpu_limit_milli, 250);
    VV_CHECK_INT(s.cgroup.periods, 8);
    VV_CHECK_INT(s.cgroup.throttled, 2);
    VV_CHECK_INT(s.cgroup.cpu_ns, 123456789);
    VV_CHECK_INT(s.cgroup.memory_limit_bytes, 4096);
    VV_CHECK_INT(s.cgroup.memory_bytes, 2048);
    VV_CHECK_INT(s.cgroup.memory_failures, 6);
    VV_CHECK_INT(s.cgroup.oom_kills, 1);
    fell();
}

VV_TEST(this_machine_is_described)
{
    vv_system_read(NULL, NULL, &s);
    VV_CHECK(s.cpu.mode_ns[VV_SYSTEM_MODE_USER] != ABSENT);
    VV_CHECK(s.cpu.processors >= 1 && s.cpu.processors != ABSENT);
    VV_CHECK(s.memory.free_bytes < s.memory.total_bytes);
    VV_CHECK(s.process.threads >= 1 && s.process.threads != ABSENT);
    VV_CHECK(s.process.peak_bytes > 0);
}
