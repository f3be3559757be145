/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The steering program: a hash over addresses and ports, by which the kernel chooses the queue.
 *
 * Packets of one flow and direction have the same addresses and ports, hence the same hash, hence one queue
 * and one thread: they cannot overtake each other. The two directions of a translated flow have nothing in
 * common that could be hashed, so they may meet different queues; the engine's table is made for that.
 *
 * Ports count only where every packet of the flow has them in the same place: in TCP or UDP directly after
 * an unfragmented IPv4 header without options or an IPv6 header without extensions. Everything else is
 * spread by its addresses: so all fragments of a datagram meet one thread, on which the engine relies
 * (engine/fragments.h). Whatever is no IP packet goes to queue 0.
 *
 * The program is written by hand, instruction by instruction, since it is short and since the plane then
 * needs neither a compiler for BPF nor a loader at run time. Registers keep one meaning throughout:
 *
 *     r6  the packet (struct __sk_buff)      r8  the odd multiplier of the hash
 *     r7  the hash so far                    r9  the word to be mixed in
 *
 * The stack is laid out so that the addresses of either family start at fp-32, where 64-bit loads are
 * aligned, and the ports stand apart:
 *
 *     fp-48  ports    fp-44  IPv4 header (20 bytes)    fp-40  IPv6 header (40 bytes)
 */
#include "plane/tun/steer.h"

#include <linux/bpf.h>
#include <linux/if_tun.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    PORTS = -48,
    IPV4 = -44,
    IPV4_LENGTH = 20,
    IPV4_FRAGMENT = IPV4 + 6,
    IPV4_PROTOCOL = IPV4 + 9,
    IPV6 = -40,
    IPV6_LENGTH = 40,
    IPV6_NEXT_HEADER = IPV6 + 6,
    ADDRESSES = -32, /* of both families */
    TCP = 6,
    UDP = 17,
};

#define MULTIPLIER UINT64_C(0x9e3779b97f4a7c15) /* 2^64 over the golden ratio: its bits are well spread */

#define INSTRUCTION(opcode, destination, source, offset, immediate)                                          \
    {                                                                                                        \
        .code = (opcode), .dst_reg = (destination), .src_reg = (source), .off = (offset), .imm = (immediate) \
    }
#define FROM_BIG_ENDIAN_16(destination) INSTRUCTION(BPF_ALU | BPF_END | BPF_TO_BE, destination, 0, 0, 16)
#define SET(destination, immediate)     INSTRUCTION(BPF_ALU64 | BPF_MOV | BPF_K, destination, 0, 0, immediate)
#define COPY(destination, source)       INSTRUCTION(BPF_ALU64 | BPF_MOV | BPF_X, destination, source, 0, 0)
#define CALCULATE(operation, destination, source)                                                            \
    INSTRUCTION(BPF_ALU64 | (operation) | BPF_X, destination, source, 0, 0)
#define CALCULATE_WITH(operation, destination, immediate)                                                    \
    INSTRUCTION(BPF_ALU64 | (operation) | BPF_K, destination, 0, 0, immediate)
#define LOAD(size, destination, at) INSTRUCTION(BPF_LDX | BPF_MEM | (size), destination, BPF_REG_10, at, 0)
#define JUMP_IF(comparison, left, immediate, over)                                                           \
    INSTRUCTION(BPF_JMP | (comparison) | BPF_K, left, 0, over, immediate)
#define JUMP(over)   INSTRUCTION(BPF_JMP | BPF_JA, 0, 0, over, 0)
#define CALL(helper) INSTRUCTION(BPF_JMP | BPF_CALL, 0, 0, 0, helper)
#define RETURN       INSTRUCTION(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)

/* destination = a 64-bit number; two instructions */
#define SET_64(destination, number)                                                                          \
    INSTRUCTION(BPF_LD | BPF_DW | BPF_IMM, destination, 0, 0, (int32_t)((number)&0xffffffff)),               \
        INSTRUCTION(0, 0, 0, 0, (int32_t)((number) >> 32))

/* r0 = 0 if `length` bytes at r2 in the packet could be copied to fp + to; five instructions */
#define FETCH_AT_R2(to, length)                                                                              \
    COPY(BPF_REG_1, BPF_REG_6), COPY(BPF_REG_3, BPF_REG_10), CALCULATE_WITH(BPF_ADD, BPF_REG_3, to),         \
        SET(BPF_REG_4, length), CALL(BPF_FUNC_skb_load_bytes)
#define FETCH(from, to, length) SET(BPF_REG_2, from), FETCH_AT_R2(to, length)

/*
 * hash = fold((hash ^ word) * multiplier); the fold brings the well mixed upper half down, where the next
 * multiplication spreads it again. Six instructions.
 */
#define MIX(size, at)                                                                                        \
    LOAD(size, BPF_REG_9, at), CALCULATE(BPF_XOR, BPF_REG_7, BPF_REG_9),                                     \
        CALCULATE(BPF_MUL, BPF_REG_7, BPF_REG_8), COPY(BPF_REG_9, BPF_REG_7),                                \
        CALCULATE_WITH(BPF_RSH, BPF_REG_9, 32), CALCULATE(BPF_XOR, BPF_REG_7, BPF_REG_9)

/* Where parts of the program stand, counted in instructions. */
enum {
    AT_SEED = 1,
    AT_IPV6 = 33,
    AT_PORTS = 68,
    AT_FINISH = 80,
    AT_NOTHING = 84,
    PROGRAM_LENGTH = 86,
};

static const struct bpf_insn program[] = {
    /*  0 */ COPY(BPF_REG_6, BPF_REG_1),
    /*  1 */ SET_64(BPF_REG_7, UINT64_C(0)), /* the seed is entered here */
    /*  3 */ SET_64(BPF_REG_8, MULTIPLIER),
    /*  5 */ FETCH(0, IPV4, IPV4_LENGTH),
    /* 11 */ JUMP_IF(BPF_JNE, BPF_REG_0, 0, AT_NOTHING - 12),
    /* 12 */ LOAD(BPF_B, BPF_REG_1, IPV4),
    /* 13 */ COPY(BPF_REG_2, BPF_REG_1),
    /* 14 */ CALCULATE_WITH(BPF_RSH, BPF_REG_2, 4),
    /* 15 */ JUMP_IF(BPF_JEQ, BPF_REG_2, 6, AT_IPV6 - 16),
    /* 16 */ JUMP_IF(BPF_JNE, BPF_REG_2, 4, AT_NOTHING - 17),

    /* IPv4: the first byte is 0x45 when there are no options; more fragments and offset must be 0 */
    /* 17 */ MIX(BPF_DW, ADDRESSES),
    /* 23 */ JUMP_IF(BPF_JNE, BPF_REG_1, 0x45, AT_FINISH - 24),
    /* 24 */ LOAD(BPF_H, BPF_REG_1, IPV4_FRAGMENT),
    /* 25 */ FROM_BIG_ENDIAN_16(BPF_REG_1),
    /* 26 */ CALCULATE_WITH(BPF_AND, BPF_REG_1, 0x3fff),
    /* 27 */ JUMP_IF(BPF_JNE, BPF_REG_1, 0, AT_FINISH - 28),
    /* 28 */ LOAD(BPF_B, BPF_REG_1, IPV4_PROTOCOL),
    /* 29 */ SET(BPF_REG_2, IPV4_LENGTH),
    /* 30 */ JUMP_IF(BPF_JEQ, BPF_REG_1, TCP, AT_PORTS - 31),
    /* 31 */ JUMP_IF(BPF_JEQ, BPF_REG_1, UDP, AT_PORTS - 32),
    /* 32 */ JUMP(AT_FINISH - 33),

    /* IPv6 */
    /* 33 */ FETCH(0, IPV6, IPV6_LENGTH),
    /* 39 */ JUMP_IF(BPF_JNE, BPF_REG_0, 0, AT_NOTHING - 40),
    /* 40 */ MIX(BPF_DW, ADDRESSES),
    /* 46 */ MIX(BPF_DW, ADDRESSES + 8),
    /* 52 */ MIX(BPF_DW, ADDRESSES + 16),
    /* 58 */ MIX(BPF_DW, ADDRESSES + 24),
    /* 64 */ LOAD(BPF_B, BPF_REG_1, IPV6_NEXT_HEADER),
    /* 65 */ SET(BPF_REG_2, IPV6_LENGTH),
    /* 66 */ JUMP_IF(BPF_JEQ, BPF_REG_1, TCP, AT_PORTS - 67),
    /* 67 */ JUMP_IF(BPF_JNE, BPF_REG_1, UDP, AT_FINISH - 68),

    /* ports: r2 says where the transport header starts */
    /* 68 */ FETCH_AT_R2(PORTS, 4),
    /* 73 */ JUMP_IF(BPF_JNE, BPF_REG_0, 0, AT_FINISH - 74),
    /* 74 */ MIX(BPF_W, PORTS),

    /* finish: the kernel takes the result modulo the number of queues, so its low bits must be good */
    /* 80 */ CALCULATE(BPF_MUL, BPF_REG_7, BPF_REG_8),
    /* 81 */ CALCULATE_WITH(BPF_RSH, BPF_REG_7, 32),
    /* 82 */ COPY(BPF_REG_0, BPF_REG_7),
    /* 83 */ RETURN,

    /* nothing to go by */
    /* 84 */ SET(BPF_REG_0, 0),
    /* 85 */ RETURN,
};
_Static_assert(sizeof(program) == PROGRAM_LENGTH * sizeof(program[0]), "the positions above are counted");

/* rfc: 7915-4-d */
int steer_load(uint64_t seed)
{
    struct bpf_insn seeded[PROGRAM_LENGTH];
    union bpf_attr attributes;

    memcpy(seeded, program, sizeof(seeded));
    seeded[AT_SEED].imm = (int32_t)(uint32_t)seed;
    seeded[AT_SEED + 1].imm = (int32_t)(seed >> 32);

    memset(&attributes, 0, sizeof(attributes));
    attributes.prog_type = BPF_PROG_TYPE_SOCKET_FILTER;
    attributes.insn_cnt = PROGRAM_LENGTH;
    attributes.insns = (uint64_t)(uintptr_t)seeded;
    attributes.license = (uint64_t)(uintptr_t) "Dual BSD/GPL";
    memcpy(attributes.prog_name, "isthmus_steer", sizeof("isthmus_steer"));
    return (int)syscall(SYS_bpf, BPF_PROG_LOAD, &attributes, sizeof(attributes));
}

bool steer_attach(int queue, int program_descriptor)
{
    return ioctl(queue, TUNSETSTEERINGEBPF, &program_descriptor) == 0;
}
