//! System calls by what they are for. Both machines' tables: the older calls exist on x86-64 only.

macro_rules! calls {
    ($(#[$doc:meta])* $name:ident: $($call:ident)*; x86_64: $($old:ident)*) => {
        $(#[$doc])*
        #[cfg(target_arch = "x86_64")]
        pub(crate) const $name: &[i64] = &[$(libc::$call,)* $(libc::$old,)*];
        $(#[$doc])*
        #[cfg(not(target_arch = "x86_64"))]
        pub(crate) const $name: &[i64] = &[$(libc::$call,)*];
    };
}

calls! {
    /// Memory, threads, time, signals of one's own: what a program needs to compute.
    COMPUTE:
    SYS_brk SYS_mmap SYS_munmap SYS_mprotect SYS_mremap SYS_madvise SYS_mincore SYS_msync SYS_mlock SYS_mlock2
    SYS_munlock SYS_mlockall SYS_munlockall SYS_membarrier SYS_pkey_alloc SYS_pkey_free SYS_pkey_mprotect SYS_mseal
    SYS_futex SYS_futex_waitv
    SYS_set_robust_list SYS_rseq SYS_set_tid_address
    SYS_exit SYS_exit_group SYS_restart_syscall
    SYS_getpid SYS_getppid SYS_gettid SYS_getuid SYS_geteuid SYS_getgid SYS_getegid SYS_getresuid SYS_getresgid
    SYS_getgroups SYS_getpgid SYS_getsid SYS_capget SYS_uname SYS_sysinfo SYS_getrusage SYS_times SYS_getcpu
    SYS_getpriority SYS_getrandom
    SYS_sched_yield SYS_sched_getaffinity SYS_sched_setaffinity SYS_sched_getparam SYS_sched_getscheduler
    SYS_sched_getattr SYS_sched_get_priority_max SYS_sched_get_priority_min SYS_sched_rr_get_interval
    SYS_clock_gettime SYS_clock_getres SYS_clock_nanosleep SYS_nanosleep SYS_gettimeofday SYS_getitimer
    SYS_rt_sigaction SYS_rt_sigprocmask SYS_rt_sigreturn SYS_rt_sigpending SYS_rt_sigsuspend SYS_rt_sigtimedwait
    SYS_sigaltstack;
    x86_64: SYS_arch_prctl SYS_time SYS_getpgrp SYS_pause SYS_getrlimit
}

calls! {
    /// Reading and writing what is open, and opening: the mounts and Landlock say what.
    FILES:
    SYS_openat SYS_openat2 SYS_close SYS_close_range SYS_read SYS_write SYS_readv SYS_writev SYS_pread64 SYS_pwrite64
    SYS_preadv SYS_pwritev SYS_preadv2 SYS_pwritev2 SYS_lseek SYS_fstat SYS_newfstatat SYS_statx SYS_statfs SYS_fstatfs
    SYS_faccessat SYS_faccessat2 SYS_readlinkat SYS_getdents64 SYS_getcwd SYS_fcntl SYS_flock SYS_dup SYS_dup3
    SYS_pipe2 SYS_ftruncate SYS_fallocate SYS_fadvise64 SYS_readahead SYS_fsync SYS_fdatasync SYS_sendfile
    SYS_copy_file_range SYS_mkdirat SYS_unlinkat SYS_renameat2 SYS_umask
    SYS_ppoll SYS_pselect6 SYS_epoll_create1 SYS_epoll_ctl SYS_epoll_pwait SYS_epoll_pwait2 SYS_eventfd2;
    x86_64: SYS_open SYS_creat SYS_stat SYS_lstat SYS_access SYS_readlink SYS_getdents SYS_dup2 SYS_pipe SYS_mkdir
    SYS_rmdir SYS_unlink SYS_rename SYS_renameat SYS_poll SYS_select SYS_epoll_create SYS_epoll_wait SYS_eventfd
}

calls! {
    /// What compilers, shells and interpreters do besides.
    TOOLS:
    SYS_execve SYS_execveat SYS_wait4 SYS_waitid SYS_pidfd_open SYS_setpgid SYS_setsid SYS_seccomp
    SYS_chdir SYS_fchdir SYS_linkat SYS_symlinkat SYS_splice SYS_tee
    SYS_getxattr SYS_lgetxattr SYS_fgetxattr SYS_listxattr SYS_llistxattr SYS_flistxattr
    SYS_timer_create SYS_timer_settime SYS_timer_gettime SYS_timer_getoverrun SYS_timer_delete SYS_setitimer
    SYS_timerfd_create SYS_timerfd_settime SYS_timerfd_gettime SYS_signalfd4 SYS_ioprio_get
    SYS_sendto SYS_recvfrom SYS_sendmsg SYS_recvmsg SYS_sendmmsg SYS_recvmmsg SYS_shutdown SYS_getsockopt
    SYS_setsockopt SYS_getsockname SYS_getpeername;
    x86_64: SYS_fork SYS_vfork SYS_link SYS_symlink SYS_signalfd SYS_alarm SYS_setrlimit SYS_sync_file_range
}

calls! {
    /// Signals to other processes.
    SIGNALS: SYS_kill SYS_tkill SYS_tgkill SYS_rt_sigqueueinfo SYS_rt_tgsigqueueinfo SYS_pidfd_send_signal; x86_64:
}

calls! {
    /// Owners, modes and times of files, which Landlock leaves alone.
    ATTRIBUTES:
    SYS_fchmod SYS_fchmodat SYS_fchown SYS_fchownat SYS_utimensat;
    x86_64: SYS_fchmodat2 SYS_chmod SYS_chown SYS_lchown SYS_utime SYS_utimes SYS_futimesat
}

calls! {
    /// Waiting for others to connect.
    LISTENING: SYS_bind SYS_listen SYS_accept SYS_accept4; x86_64:
}

calls! {
    /// A network, where it is allowed.
    NETWORK: SYS_connect SYS_bind SYS_listen SYS_accept SYS_accept4; x86_64:
}

calls! {
    /// No program of ours asks for these: tracing, mounting, other namespaces, kernel code, ways around files' names.
    DEADLY:
    SYS_ptrace SYS_process_vm_readv SYS_process_vm_writev SYS_pidfd_getfd SYS_kcmp
    SYS_mount SYS_umount2 SYS_pivot_root SYS_open_tree SYS_move_mount SYS_fsopen SYS_fsconfig SYS_fsmount SYS_fspick
    SYS_mount_setattr SYS_unshare SYS_setns SYS_open_by_handle_at
    SYS_bpf SYS_perf_event_open SYS_userfaultfd SYS_io_uring_setup SYS_io_uring_enter SYS_io_uring_register
    SYS_keyctl SYS_add_key SYS_request_key
    SYS_kexec_load SYS_init_module SYS_finit_module SYS_delete_module SYS_reboot SYS_swapon SYS_swapoff;
    x86_64: SYS_kexec_file_load SYS_iopl SYS_ioperm
}
