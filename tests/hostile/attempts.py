"""What a stranger's code tries in order to get out of its sandbox; each attempt ends in an error, or it has succeeded.

They are tried one after the other in one evaluation a sandbox, and each is a row of its own. A text in braces is put in by
the test: {secret}, a file of the user; {labels}, those of the exam; {sibling}, another submission; {port}, {abstract} and
{path}, of listeners of the host; {host}, the process id of the host; {repository}; {badnet}, the host's own file.
"""

from typing import NamedTuple


class Attempt(NamedTuple):
    """Code that a stranger runs, what it does in words, and what must stand in the error that it gets."""

    part: str
    does: str
    code: str
    refused: str
    """In bubblewrap."""
    landlock: str = ""
    """Behind Landlock, where that is another."""


NO_FAMILY = "Address family not supported"
NO_FILE = "No such file or directory"
DENIED = "Permission denied"
READ_ONLY = "Read-only file system"
NO_CALL = "Function not implemented"

NETWORK = "the network"
READING = "reading what is not its own"
WRITING = "writing outside its scratch folder"
PROCESSES = "other processes"
KERNEL = "the kernel"

ATTEMPTS = {
    "ipv4": Attempt(NETWORK, "opens an IPv4 socket to the host", "socket.create_connection(('127.0.0.1', {port}), 2)", NO_FAMILY),
    "ipv6": Attempt(NETWORK, "opens an IPv6 socket", "socket.socket(socket.AF_INET6)", NO_FAMILY),
    "udp": Attempt(NETWORK, "sends a datagram", "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', {port}))", NO_FAMILY),
    "name": Attempt(NETWORK, "looks up a name", "socket.getaddrinfo('example.org', 80)", "gaierror"),
    "raw": Attempt(NETWORK, "opens a raw socket", "socket.socket(socket.AF_PACKET, socket.SOCK_RAW)", NO_FAMILY),
    "netlink": Attempt(NETWORK, "opens a netlink socket", "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)", NO_FAMILY),
    "abstract": Attempt(NETWORK, "connects to an abstract Unix socket of the host", "socket.socket(socket.AF_UNIX).connect('\\0{abstract}')", "Connection refused", NO_FAMILY),
    "unix": Attempt(NETWORK, "connects to a Unix socket of the host", "socket.socket(socket.AF_UNIX).connect('{path}')", NO_FILE, NO_FAMILY),
    "datagram": Attempt(NETWORK, "sends a datagram to a Unix socket of the host", "socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)[0].sendto(b'x', '{path}')", NO_FILE, NO_CALL),
    "secret": Attempt(READING, "reads a file of the user", "open('{secret}').read()", NO_FILE, DENIED),
    "home": Attempt(READING, "reads a file of the user's home folder", "open('{home}').read()", NO_FILE, DENIED),
    "git": Attempt(READING, "reads the repository's .git", "os.listdir('{repository}/.git')", NO_FILE, DENIED),
    "labels": Attempt(READING, "reads the labels of the exam", "open('{labels}', 'rb').read()", NO_FILE, DENIED),
    "host code": Attempt(READING, "imports the host's side of the harness", "import harness.exam", "No module named 'harness.exam'"),
    "sibling": Attempt(READING, "reads another submission", "open('{sibling}/submission.toml').read()", NO_FILE, DENIED),
    "variable": Attempt(READING, "reads the user's environment", "os.environ['SECRET_OF_THE_USER']", "KeyError"),
    "passwd": Attempt(READING, "reads /etc/passwd", "open('/etc/passwd').read()", NO_FILE, DENIED),
    "proc 1": Attempt(READING, "reads the environment of process 1", "assert 'SECRET_OF_THE_USER' in open('/proc/1/environ').read(), 'nothing of the user in it'", "nothing of the user in it", DENIED),
    "host environment": Attempt(READING, "reads the environment of the host's process", "open('/proc/{host}/environ', 'rb').read()", NO_FILE, DENIED),
    "host command": Attempt(READING, "looks for the host's process in /proc", "[open(f'/proc/{{p}}/cmdline').read() for p in ({host}, os.getppid()) if 'pytest' in open(f'/proc/{{p}}/cmdline').read()][0]", NO_FILE, DENIED),
    "links": Attempt(READING, "follows a symbolic link that it makes to a file of the user", "os.symlink('{secret}', os.environ['TMPDIR'] + '/link'); open(os.environ['TMPDIR'] + '/link').read()", NO_FILE, DENIED),
    "system": Attempt(WRITING, "writes into /usr", "open('/usr/x', 'w')", READ_ONLY, DENIED),
    "root": Attempt(WRITING, "writes into the root folder", "open('/x', 'w')", READ_ONLY, DENIED),
    "device folder": Attempt(WRITING, "writes into /dev, which no quota bounds", "open('/dev/x', 'w')", READ_ONLY, DENIED),
    "own folder": Attempt(WRITING, "writes into its own folder", "open(os.path.join(os.path.dirname(__file__), 'x'), 'w')", READ_ONLY, DENIED),
    "badnet": Attempt(WRITING, "overwrites the BadNet that it is given", "open(badnet.model_path, 'r+b').write(b'x')", READ_ONLY, DENIED),
    "validation": Attempt(WRITING, "overwrites the validation labels", "open(badnet.validation_path / 'labels.npy', 'r+b').write(b'x')", READ_ONLY, DENIED),
    "harness": Attempt(WRITING, "overwrites the harness's code", "open(sys.modules['harness.protocol'].__file__, 'a').write('x')", READ_ONLY, DENIED),
    "packages": Attempt(WRITING, "plants a module among the packages", "open(os.path.join(os.path.dirname(os.path.dirname(sys.modules['numpy'].__file__)), 'planted.py'), 'w')", READ_ONLY, DENIED),
    "core pattern": Attempt(WRITING, "has the kernel start a program on a crash (core_pattern)", "open('/proc/sys/kernel/core_pattern', 'r+').write(open('/proc/sys/kernel/core_pattern').read())", READ_ONLY, DENIED),
    "sysrq": Attempt(WRITING, "commands the kernel by /proc/sysrq-trigger", "open('/proc/sysrq-trigger', 'w').write('h')", "Error: [Errno"),
    "disk": Attempt(WRITING, "makes a device file of the disk", "os.mknod('/tmp/disk', 0o60600, os.makedev(254, 0))", NO_CALL),
    "rights": Attempt(WRITING, "gives away the rights to a file of the user (chmod)", "os.chmod('{secret}', 0o777); assert os.stat('{secret}').st_mode & 0o111, 'unchanged'", NO_FILE, "unchanged"),
    "dates": Attempt(WRITING, "changes the date of a file of the user", "os.utime('{secret}', (0, 0)); assert not os.stat('{secret}').st_mtime, 'unchanged'", NO_FILE, "unchanged"),
    "owner": Attempt(WRITING, "changes the owner of a file of the user", "os.chown('{secret}', 12345, 12345); assert os.stat('{secret}').st_uid == 12345, 'unchanged'", NO_FILE, "unchanged"),
    "device rights": Attempt(WRITING, "changes the rights of a device of the host", "mark(os.chmod, '/dev/full', 0o667); assert os.stat('/dev/full').st_mode & 0o777 == 0o667, 'unchanged'", "unchanged"),
    "limit of host": Attempt(PROCESSES, "sets the host's limits", "resource.prlimit({host}, resource.RLIMIT_CORE, (0, 0))", "ProcessLookupError", NO_CALL),
    "lease": Attempt(PROCESSES, "holds up everybody who opens a file (a lease)", "fcntl.fcntl(os.open(badnet.model_path, os.O_RDONLY), fcntl.F_SETLEASE, fcntl.F_UNLCK)", NO_CALL),
    "flags": Attempt(WRITING, "changes the flags of a file that it may only read", "descriptor = os.open(badnet.model_path, os.O_RDONLY); flags = fcntl.ioctl(descriptor, 0x80086601, bytes(8)); fcntl.ioctl(descriptor, 0x40086602, flags)", "Error: [Errno", NO_CALL),
    "priorities": Attempt(PROCESSES, "takes all processes of the user their priority", "os.setpriority(7, 0, 19)", "Invalid argument", NO_CALL),
    "priority of host": Attempt(PROCESSES, "takes the host its priority", "os.setpriority(os.PRIO_PROCESS, {host}, 0)", "No such process", NO_CALL),
    "cores of host": Attempt(PROCESSES, "takes the host its cores", "os.sched_setaffinity({host}, [0]); assert os.sched_getaffinity({host}) == {{0}}, 'unchanged'", "No such process", "unchanged"),
    "kill host": Attempt(PROCESSES, "kills the host", "os.kill({host}, 9)", "No such process", "Operation not permitted"),
    "kill parent": Attempt(PROCESSES, "kills its parent", "os.kill(os.getppid(), 9); time.sleep(0.3); os.kill(os.getppid(), 0); raise PermissionError('it is still there')", "still there", "Operation not permitted"),
    "kill group": Attempt(PROCESSES, "kills the group of its parent", "os.killpg(os.getpgid(os.getppid()), 9)", "No such process", "Operation not permitted"),
    "priority": Attempt(PROCESSES, "gives itself a higher priority", "os.nice(-10)", "Operation not permitted"),
    "limits": Attempt(PROCESSES, "raises its limits", "resource.setrlimit(resource.RLIMIT_NOFILE, (9999, 9999))", "not allowed to raise"),
    "user": Attempt(PROCESSES, "becomes root", "os.setuid(0)", NO_CALL),
    "clock": Attempt(KERNEL, "changes the clock", "time.clock_settime(time.CLOCK_REALTIME, time.time())", NO_CALL),
    "ptrace": Attempt(KERNEL, "traces a process (ptrace)", "call('ptrace', 16, os.getppid(), 0, 0)", NO_CALL),
    "memory of others": Attempt(KERNEL, "reads another process's memory (process_vm_readv)", "call('process_vm_readv', os.getppid(), 0, 0, 0, 0, 0)", NO_CALL),
    "memory file": Attempt(KERNEL, "hides memory in a file without a name (memfd)", "call('memfd_create', b'x', 0)", NO_CALL),
    "shared memory": Attempt(KERNEL, "hides memory in a System V segment", "call('shmget', 0, 1 << 30, 0o1600)", NO_CALL),
    "mount": Attempt(KERNEL, "mounts a file system", "call('mount', b'none', b'/tmp', b'tmpfs', 0, 0)", NO_CALL),
    "namespaces": Attempt(KERNEL, "makes namespaces of its own (unshare)", "call('unshare', 0x10000000)", NO_CALL),
    "clone": Attempt(KERNEL, "makes a user namespace by clone", "call('clone', 0x10000000 | 17, 0, 0, 0, 0)", NO_CALL),
    "keyring": Attempt(KERNEL, "uses the kernel's keyring", "call('keyctl', 0, -3, 1, 0, 0)", NO_CALL),
    "bpf": Attempt(KERNEL, "loads a BPF program", "call('bpf', 0, 0, 0)", NO_CALL),
    "perf": Attempt(KERNEL, "opens performance counters", "call('perf_event_open', 0, 0, -1, -1, 0)", NO_CALL),
    "userfaultfd": Attempt(KERNEL, "handles page faults itself (userfaultfd)", "call('userfaultfd', 0)", NO_CALL),
    "io_uring": Attempt(KERNEL, "uses io_uring, past the filter of calls", "call('io_uring_setup', 8, 0)", NO_CALL),
    "module": Attempt(KERNEL, "loads a kernel module", "call('init_module', 0, 0, b'')", NO_CALL),
    "kexec": Attempt(KERNEL, "starts another kernel", "call('kexec_load', 0, 0, 0, 0)", NO_CALL),
    "chroot": Attempt(KERNEL, "changes its root folder", "os.chroot('/tmp')", NO_CALL),
    "32 bits": Attempt(KERNEL, "asks as a 32-bit program, past the filter of calls", "call_32_bit()", "killed by signal 31"),
}  # fmt: skip

NUMBERS = {
    "x86_64": {
        "ptrace": 101, "process_vm_readv": 310, "memfd_create": 319, "shmget": 29, "mount": 165, "unshare": 272, "clone": 56,
        "keyctl": 250, "bpf": 321, "perf_event_open": 298, "userfaultfd": 323, "io_uring_setup": 425, "init_module": 175,
        "kexec_load": 246,
    },
    "aarch64": {
        "ptrace": 117, "process_vm_readv": 270, "memfd_create": 279, "shmget": 194, "mount": 40, "unshare": 97, "clone": 220,
        "keyctl": 219, "bpf": 280, "perf_event_open": 241, "userfaultfd": 282, "io_uring_setup": 425, "init_module": 105,
        "kexec_load": 104,
    },
}  # fmt: skip
"""System calls by their numbers, as libc does not offer all of them."""

PREAMBLE = f"""
import ctypes, fcntl, json, mmap, os, platform, resource, signal, socket, sys, time
import numpy
NUMBERS = {NUMBERS!r}[platform.machine()]
libc = ctypes.CDLL(None, use_errno=True)
def call(name, *arguments):
    if libc.syscall(ctypes.c_long(NUMBERS[name]), *arguments) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
def call_32_bit():
    # mov eax, 20 (getpid of the old numbers); int 0x80; ret
    page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(b"\\xb8\\x14\\x00\\x00\\x00\\xcd\\x80\\xc3")
    child = os.fork()
    if child == 0:
        ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))()
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status:
        raise OSError(f"killed by signal {{-status}}")
def mark(call, *arguments):
    # Root owns the devices, and is told that it was done; others are told that they may not.
    try:
        call(*arguments)
    except PermissionError:
        pass
def attempt(code, badnet):
    try:
        exec(code, globals() | {{"badnet": badnet}})
    except BaseException as error:
        return f"{{type(error).__name__}}: {{error}}"
    return "SUCCEEDED"
"""
