"""Which system calls confined code may make, with their numbers on x86-64 and on 64-bit ARM; what is not here is refused.

Numbers are the kernel's (`unistd_64.h` and the generic `unistd.h`), `-` where an architecture has no such call. Calls that are
allowed under a condition only are in `seccomp.py`; no socket, mount, ptrace, keyring, io_uring, bpf, shared-memory or clock-setting call is here, and no
`setsockopt`: a buffer has the size that is counted for it.
"""

from __future__ import annotations

import os
from typing import NamedTuple

_TABLE = """
    # files, by path and by descriptor
    read 0 63; write 1 64; readv 19 65; writev 20 66; pread64 17 67; pwrite64 18 68; preadv 295 69; pwritev 296 70;
    preadv2 327 286; pwritev2 328 287; lseek 8 62; close 3 57; close_range 436 436; dup 32 23; dup2 33 -;
    dup3 292 24; fcntl 72 25; open 2 -; openat 257 56; openat2 437 437; creat 85 -; access 21 -; faccessat 269 48;
    faccessat2 439 439; stat 4 -; lstat 6 -; fstat 5 80; newfstatat 262 79; statx 332 291; statfs 137 43;
    fstatfs 138 44; readlink 89 -; readlinkat 267 78; getdents 78 -; getdents64 217 61; getcwd 79 17; chdir 80 49;
    fchdir 81 50; mkdir 83 -; mkdirat 258 34; rmdir 84 -; unlink 87 -; unlinkat 263 35; rename 82 -;
    renameat 264 38; renameat2 316 276; link 86 -; linkat 265 37; symlink 88 -; symlinkat 266 36; chmod 90 -;
    fchmod 91 52; fchmodat 268 53; fchmodat2 452 452; umask 95 166; utime 132 -; utimes 235 -; utimensat 280 88;
    futimesat 261 -; truncate 76 45; ftruncate 77 46; fallocate 285 47; fadvise64 221 223; flock 73 32; fsync 74 82;
    fdatasync 75 83; sendfile 40 71; copy_file_range 326 285; splice 275 76; tee 276 77; getxattr 191 8;
    lgetxattr 192 9; fgetxattr 193 10; listxattr 194 11; llistxattr 195 12; flistxattr 196 13;
    # memory
    mmap 9 222; munmap 11 215; mprotect 10 226; mremap 25 216; msync 26 227; madvise 28 233; brk 12 214;
    membarrier 324 283;
    # pipes and waiting
    pipe 22 -; pipe2 293 59; poll 7 -; ppoll 271 73; select 23 -; pselect6 270 72; epoll_create 213 -;
    epoll_create1 291 20; epoll_ctl 233 21; epoll_wait 232 -; epoll_pwait 281 22; epoll_pwait2 441 441;
    eventfd 284 -; eventfd2 290 19; timerfd_create 283 85; timerfd_settime 286 86; timerfd_gettime 287 87;
    signalfd 282 -; signalfd4 289 74;
    # a pair of sockets of its own (asyncio needs one) and the ioctls that ask what a descriptor is
    socketpair 53 199; sendto 44 206; recvfrom 45 207; sendmsg 46 211; recvmsg 47 212; shutdown 48 210;
    getsockname 51 204; getpeername 52 205; getsockopt 55 209; ioctl 16 29;
    # signals
    rt_sigaction 13 134; rt_sigprocmask 14 135; rt_sigreturn 15 139; rt_sigpending 127 136; rt_sigtimedwait 128 137;
    rt_sigsuspend 130 133; rt_sigqueueinfo 129 138; sigaltstack 131 132; kill 62 129; tkill 200 130; tgkill 234 131;
    pause 34 -; alarm 37 -; getitimer 36 102; setitimer 38 103;
    # time and timers
    timer_create 222 107; timer_settime 223 110; timer_gettime 224 108; timer_getoverrun 225 109;
    timer_delete 226 111; nanosleep 35 101; clock_nanosleep 230 115; clock_gettime 228 113; clock_getres 229 114;
    gettimeofday 96 169; time 201 -; times 100 153;
    # processes
    clone 56 220; fork 57 -; vfork 58 -; execve 59 221; execveat 322 281; exit 60 93; exit_group 231 94;
    wait4 61 260; waitid 247 95;
    # questions about itself
    getpid 39 172; getppid 110 173; gettid 186 178; getuid 102 174; geteuid 107 175; getgid 104 176;
    getegid 108 177; getresuid 118 148; getresgid 120 150; getgroups 115 158; getpgrp 111 -; getpgid 121 155;
    getsid 124 156; setpgid 109 154; setsid 112 157; getrlimit 97 163; setrlimit 160 164; prlimit64 302 261;
    getrusage 98 165; sysinfo 99 179; uname 63 160; getcpu 309 168; getrandom 318 278; getpriority 140 141;
    sched_yield 24 124; sched_getaffinity 204 123; sched_setaffinity 203 122; sched_getparam 143 121;
    sched_getscheduler 145 120; sched_get_priority_max 146 125; sched_get_priority_min 147 126;
    # threads, and what the C library does at start
    futex 202 98; futex_waitv 449 449; set_robust_list 273 99; set_tid_address 218 96; rseq 334 293;
    restart_syscall 219 128; arch_prctl 158 -; prctl 157 167; capget 125 90;
"""


class Architecture(NamedTuple):
    """A machine's calling convention as seccomp sees it."""

    name: str
    audit: int
    """AUDIT_ARCH_* value the kernel reports in `seccomp_data.arch`."""
    column: int
    """Column of the table that holds its numbers."""


ARCHITECTURES = {
    "x86_64": Architecture(name="x86_64", audit=0xC000003E, column=1),
    "aarch64": Architecture(name="aarch64", audit=0xC00000B7, column=2),
}


def here() -> Architecture | None:
    """This machine's; none when its numbers are not known here."""
    return ARCHITECTURES.get(os.uname().machine)


def numbers(architecture: Architecture) -> dict[str, int]:
    """Name -> number of every call in the table that `architecture` has."""
    lines = (line for line in _TABLE.splitlines() if not line.lstrip().startswith("#"))
    rows = (row.split() for row in " ".join(lines).split(";") if row.strip())
    return {row[0]: int(row[architecture.column]) for row in rows if row[architecture.column] != "-"}
