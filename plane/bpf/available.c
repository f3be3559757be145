/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * May this process load the programs, and will the kernel take them? What it has and lacks it tells best
 * itself: a program of some instructions that calls the newest helper is loaded. Its refusals all look alike,
 * so the likely reasons are asked for first. CAP_PERFMON it is because the verifier lets nobody else compare
 * pointers, and guards each access against speculation for nobody else's sake.
 */
#include "plane/bpf/plane.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

enum {
    OLDEST_MAJOR = 5,
    OLDEST_MINOR = 15,
};

static bool has_capability(unsigned capability)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
    return syscall(SYS_capget, &header, data) == 0 &&
           (data[capability / 32].effective >> capability % 32 & 1) != 0;
}

static bool is_too_old(const char *release)
{
    unsigned major = 0, minor = 0;
    return sscanf(release, "%u.%u", &major, &minor) == 2 && /* NOLINT(cert-err34-c): the kernel's numbers */
           (major < OLDEST_MAJOR || (major == OLDEST_MAJOR && minor < OLDEST_MINOR));
}

static int load_probe(void)
{
    const struct bpf_insn instructions[] = {
        {.code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_ktime_get_coarse_ns},
        {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = -1},
        {.code = BPF_JMP | BPF_EXIT},
    };
    return bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "isthmus_probe", "Dual BSD/GPL", instructions,
                         sizeof(instructions) / sizeof(instructions[0]), NULL);
}

static bool is_compiled(int program)
{
    struct bpf_prog_info info = {0};
    uint32_t length = sizeof(info);
    return bpf_obj_get_info_by_fd(program, &info, &length) == 0 && info.jited_prog_len > 0;
}

static const char *why_refused(int error)
{
    switch (error) {
    case ENOSYS:
        return "this kernel is built without bpf(2)";
    case EPERM:
    case EACCES:
        return "the kernel forbids BPF programs here, as in a container or when it is locked down";
    case ENOMEM:
        return "there is no memory for BPF programs; raise the limit of locked memory";
    default:
        return "the kernel does not take BPF programs for traffic control";
    }
}

static const char *try_probe(void)
{
    int program = load_probe();
    if (program < 0)
        return why_refused(errno);
    bool compiled = is_compiled(program);
    close(program);
    return compiled ? NULL : "the kernel does not compile BPF programs; set net.core.bpf_jit_enable to 1";
}

const char *kernel_unavailable(char *error, size_t size)
{
    struct utsname system;
    const char *problem = NULL;
    if (uname(&system) == 0 && is_too_old(system.release)) {
        snprintf(error, size, "Linux %d.%d or later is needed, and this is %s", OLDEST_MAJOR, OLDEST_MINOR,
                 system.release);
        return error;
    }
    if (!has_capability(CAP_BPF) && !has_capability(CAP_SYS_ADMIN))
        problem = "CAP_BPF is missing";
    else if (!has_capability(CAP_PERFMON) && !has_capability(CAP_SYS_ADMIN))
        problem = "CAP_PERFMON is missing";
    else if (!has_capability(CAP_NET_ADMIN))
        problem = "CAP_NET_ADMIN is missing";
    else
        problem = try_probe();
    if (problem == NULL)
        return NULL;
    snprintf(error, size, "%s", problem);
    return error;
}
