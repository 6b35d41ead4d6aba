"""A seccomp filter, made by libseccomp: the system calls that models need are listed, the kernel refuses all others.

A call that is not listed gives ENOSYS, as from a kernel that does not have it, so that libraries take their other way.
What that keeps out: ptrace and other processes' memory, namespaces and mounts, keyrings, bpf, perf, userfaultfd, io_uring,
kernel modules, System V memory and memfd (neither is seen as resident memory), the clock, raw and network sockets.
"""

import ctypes
import os
from functools import cache

from harness.errors import MachineError

ALLOW = 0x7FFF0000
REFUSE = 0x00050000
"""SCMP_ACT_ERRNO, to which the error's number is added."""
PRETEND = REFUSE
"""No error: the call is not made, and seems to have succeeded."""
ENOSYS, EAFNOSUPPORT = 38, 97
NOT_EQUAL, EQUAL, MASKED_EQUAL = 1, 4, 7
OPTIMISE, BY_TREE = 8, 2
"""SCMP_FLTATR_CTL_OPTIMIZE: a binary tree in place of a list."""
NEW_NAMESPACES = 0x7E020000
"""CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET."""
AF_UNIX, ITSELF, OF_A_PROCESS = 1, 0, 0
STREAM, SOCKET_TYPE = 1, 0xF
"""Of a socket pair: a datagram could go to any socket of the host that has a path."""

FILES = """
    read write readv writev pread64 pwrite64 preadv pwritev preadv2 pwritev2 open openat openat2 creat close
    close_range lseek _llseek stat fstat lstat newfstatat statx stat64 fstat64 lstat64 fstatat64 access faccessat
    faccessat2 readlink readlinkat getdents getdents64 getcwd chdir fchdir mkdir mkdirat rmdir rename renameat
    renameat2 link linkat symlink symlinkat unlink unlinkat umask truncate ftruncate truncate64 ftruncate64 fallocate
    fadvise64 fadvise64_64 arm_fadvise64_64 readahead fsync fdatasync sync_file_range flock dup
    dup2 dup3 pipe pipe2 sendfile sendfile64 copy_file_range statfs fstatfs statfs64 fstatfs64 getxattr lgetxattr
    fgetxattr listxattr llistxattr flistxattr
"""
MEMORY = "mmap mmap2 munmap mremap mprotect madvise brk msync mincore membarrier get_mempolicy mbind set_mempolicy"
PROCESSES = """
    fork vfork execve wait4 waitid waitpid exit exit_group getpid getppid gettid getpgid getpgrp setpgid setsid getsid
    set_tid_address set_robust_list get_robust_list rseq arch_prctl prctl futex futex_time64 futex_waitv sched_yield
    sched_getaffinity sched_getparam sched_getscheduler sched_get_priority_max sched_get_priority_min sched_getattr
    getpriority getrlimit ugetrlimit setrlimit getrusage times getcpu capget uname sysinfo getuid geteuid getgid
    getegid getresuid getresgid getgroups pidfd_open pidfd_send_signal
"""
SIGNALS = """
    rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending rt_sigsuspend rt_sigtimedwait rt_sigqueueinfo sigaltstack
    sigreturn kill tkill tgkill pause alarm setitimer getitimer restart_syscall
"""
TIME = """
    clock_gettime clock_gettime64 clock_getres clock_getres_time64 clock_nanosleep clock_nanosleep_time64 nanosleep
    gettimeofday time timer_create timer_settime timer_gettime timer_delete timer_getoverrun timerfd_create
    timerfd_settime timerfd_gettime
"""
WAITING = """
    poll ppoll ppoll_time64 select _newselect pselect6 epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait
    epoll_pwait2 eventfd eventfd2 getrandom
"""
LOCAL_SOCKETS = """
    connect bind listen accept accept4 getsockname getpeername getsockopt setsockopt sendto recvfrom sendmsg recvmsg
    sendmmsg recvmmsg shutdown
"""
"""Between processes of one submission; `socket` and `socketpair` themselves have rules of their own."""
LISTED = " ".join((FILES, MEMORY, PROCESSES, SIGNALS, TIME, WAITING, LOCAL_SOCKETS)).split()
MARKING = (
    "chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "fchown", "lchown", "fchownat", "utime", "utimes", "utimensat",
    "futimesat",
)  # fmt: skip
"""On whatever file can be named: Landlock does not see to them, as namespaces do."""
SCHEDULING = ("sched_setaffinity", "sched_setparam", "sched_setscheduler")
"""Of any process of the same user."""
FCNTL = (*range(8), 12, 13, 14, 36, 37, 38, 1030, 1031, 1032, 1034)
"""Duplicating, flags, locks and the size of pipes. Not leases: on a file of the same user they hold up whoever opens it."""
IOCTL = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)
"""Is it a terminal, how large; how much can be read; flags. Others change files that can only be read."""
FIX = "install libseccomp (`apt-get install libseccomp2`); or say `--sandbox unconfined`, which is marked in the record"


class _Comparison(ctypes.Structure):
    """libseccomp's scmp_arg_cmp."""

    _fields_ = (
        ("argument", ctypes.c_uint), ("operation", ctypes.c_int), ("first", ctypes.c_uint64), ("second", ctypes.c_uint64),
    )  # fmt: skip


@cache
def filter_program(*, namespaces: bool = True) -> bytes:
    """The filter for this machine's processor, as the kernel takes it; raises MachineError with the fix.

    namespaces: whether the submission has its own. Where it has none, calls reach files and processes of the host: it gets
    no socket but pairs, may set limits and priorities of its own processes alone, and where programs usually mark files or
    schedule threads, they are told that it was done.
    """
    library = _library()
    context = ctypes.c_void_p(library.seccomp_init(REFUSE | ENOSYS))
    try:
        rules = _Rules(library, context)
        for name in LISTED:
            rules.add(ALLOW, name)
        rules.add(ALLOW, "clone", _Comparison(0, MASKED_EQUAL, NEW_NAMESPACES, 0))
        # To root belong the host's devices, which bubblewrap has to show with the right to be written to.
        for name in MARKING:
            rules.add(ALLOW if namespaces and os.geteuid() else PRETEND, name)
        for name in SCHEDULING:
            rules.add(ALLOW if namespaces else PRETEND, name)
        for name in ("fcntl", "fcntl64"):
            for command in FCNTL:
                rules.add(ALLOW, name, _Comparison(1, EQUAL, command, 0))
        if namespaces:
            rules.add(ALLOW, "ioctl")
            rules.add(ALLOW, "socketpair", _Comparison(0, EQUAL, AF_UNIX, 0))
            rules.add(ALLOW, "socket", _Comparison(0, EQUAL, AF_UNIX, 0))
            rules.add(REFUSE | EAFNOSUPPORT, "socket", _Comparison(0, NOT_EQUAL, AF_UNIX, 0))
            rules.add(ALLOW, "prlimit64")
            rules.add(ALLOW, "setpriority")
        else:
            rules.add(REFUSE | EAFNOSUPPORT, "socket")
            pair = (_Comparison(0, EQUAL, AF_UNIX, 0), _Comparison(1, MASKED_EQUAL, SOCKET_TYPE, STREAM))
            rules.add(ALLOW, "socketpair", *pair)
            for request in IOCTL:
                rules.add(ALLOW, "ioctl", _Comparison(1, EQUAL, request, 0))
            rules.add(ALLOW, "prlimit64", _Comparison(0, EQUAL, ITSELF, 0))
            own = (_Comparison(0, EQUAL, OF_A_PROCESS, 0), _Comparison(1, EQUAL, ITSELF, 0))
            rules.add(ALLOW, "setpriority", *own)
        library.seccomp_attr_set(context, OPTIMISE, ctypes.c_uint32(BY_TREE))  # older ones do without
        return rules.export()
    finally:
        library.seccomp_release(context)


class _Rules:
    """Adds rules to a filter and writes it out."""

    def __init__(self, library: ctypes.CDLL, context: ctypes.c_void_p) -> None:
        self._library, self._context = library, context

    def add(self, action: int, name: str, *comparisons: _Comparison) -> None:
        """Add a rule; a call that this processor or this libseccomp does not know stays refused."""
        number = self._library.seccomp_syscall_resolve_name(name.encode())
        if number == -1:
            return
        array = (_Comparison * len(comparisons))(*comparisons)
        status = self._library.seccomp_rule_add_array(self._context, action, number, len(comparisons), array)
        if status:
            raise MachineError(f"seccomp: no rule for {name} can be made ({os.strerror(-status)}); {FIX}")

    def export(self) -> bytes:
        """The whole filter as the kernel takes it."""
        handle = os.memfd_create("seccomp")
        try:
            if status := self._library.seccomp_export_bpf(self._context, handle):
                raise MachineError(f"seccomp: the filter cannot be made ({os.strerror(-status)}); {FIX}")
            return os.pread(handle, os.fstat(handle).st_size, 0)
        finally:
            os.close(handle)


def _library() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL("libseccomp.so.2")
    except OSError as error:
        raise MachineError(f"no sandbox can isolate here (libseccomp is not installed); {FIX}") from error
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_init.argtypes = [ctypes.c_uint32]
    library.seccomp_release.argtypes = [ctypes.c_void_p]
    library.seccomp_syscall_resolve_name.argtypes = [ctypes.c_char_p]
    library.seccomp_rule_add_array.argtypes = [
        ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint, ctypes.POINTER(_Comparison),
    ]  # fmt: skip
    library.seccomp_attr_set.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_uint32]
    library.seccomp_export_bpf.argtypes = [ctypes.c_void_p, ctypes.c_int]
    return library
