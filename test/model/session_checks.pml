/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What must hold of the table in session.pml: at any time (sound), when nobody moves any more (exact), and the
 * rebuilding by the next start. Plain C over the state, so that spin need not expand it at each use.
 */
c_code {
    extern void (*uerror)(char *); /* spin's: ends the search and leaves the way to here */

    static int complain(const char *what)
    {
        printf("refuted: %s\n", what);
        uerror("refuted");
        return 0;
    }

    static int entered(int which, int slot)
    {
        for (int i = 0; i < RECORDS; i++)
            if (now.slots[which * RECORDS + i] == slot)
                return 1;
        return 0;
    }

    static int holds(int r)
    {
        int phase = now.record[r].phase;
        return (phase == LIVE || phase == BINDING || phase == ENDING) && now.record[r].lead == r &&
               now.record[r].count > 0;
    }

    static int sound_pair(int r, int s)
    {
        int live = now.record[r].phase == LIVE && now.record[s].phase == LIVE;
        int current = now.record[r].expires >= now.tick && now.record[s].expires >= now.tick;
        int one_client = now.record[r].client == now.record[s].client;
        if (live && one_client && now.record[r].remote == now.record[s].remote)
            return complain("two sessions of one key");
        if (live && one_client && current && now.record[r].port != now.record[s].port)
            return complain("two ports in use by the sessions of one client endpoint");
        if (!holds(r) || !holds(s))
            return 1;
        if (now.record[r].port == now.record[s].port)
            return complain("two bindings with one port");
        if (one_client && !now.record[r].closing && !now.record[s].closing &&
            now.record[r].until >= now.tick && now.record[s].until >= now.tick)
            return complain("two bindings of one client endpoint");
        return 1;
    }

    static int sound_record(int r)
    {
        int slot = SLOT(r, now.record[r].generation);
        int lead = now.record[r].lead;
        int port = now.record[r].port;
        if (now.record[r].phase == LIVE) {
            if (!entered(SESSION6, slot) || !entered(SESSION4, slot))
                return complain("a session that an index does not lead to");
            if (!holds(lead) || now.record[lead].client != now.record[r].client ||
                now.record[lead].port != port)
                return complain("a session without its binding");
        }
        if ((now.record[r].phase == LIVE || now.record[r].phase == BINDING) && holds(r)) {
            if (!entered(BINDINGS, slot) || now.record[r].users_generation != now.record[r].generation)
                return complain("a binding that the index does not lead to");
            if (now.owner[port] != r + 1 || (now.free_ports & (1 << port)) != 0)
                return complain("a binding whose port is not its own");
        }
        return 1;
    }

    static int sound(void)
    {
        for (int r = 0; r < RECORDS; r++) {
            if (!sound_record(r))
                return 0;
            for (int s = r + 1; s < RECORDS; s++)
                if (!sound_pair(r, s))
                    return 0;
        }
        return 1;
    }

    static int users_of(int lead)
    {
        int users = 0;
        for (int r = 0; r < RECORDS; r++)
            users += now.record[r].phase == LIVE && now.record[r].lead == lead;
        return users;
    }

    static int entries(int which)
    {
        int number = 0;
        for (int i = 0; i < RECORDS; i++)
            number += now.slots[which * RECORDS + i] != 0;
        return number;
    }

    /* Nothing is there but what LIVE sessions and their bindings account for. */
    static int exact(void)
    {
        int live = 0, leads = 0, owned = 0;
        for (int r = 0; r < RECORDS; r++) {
            int phase = now.record[r].phase;
            int free = (now.free_records & (1 << r)) != 0;
            if ((phase == FREE) != free || (phase != FREE && phase != LIVE && phase != BINDING))
                return complain("a record lost");
            if (phase != FREE && now.record[r].lead == r && now.record[r].count != users_of(r))
                return complain("a wrong count of users");
            if (phase == BINDING && now.record[r].count == 0)
                return complain("a binding without users");
            live += phase == LIVE;
            leads += phase != FREE && now.record[r].lead == r;
        }
        for (int p = 0; p < now.ports; p++) {
            if ((now.owner[p] == 0) != ((now.free_ports & (1 << p)) != 0))
                return complain("a port lost");
            owned += now.owner[p] != 0;
        }
        if (entries(SESSION6) != live || entries(SESSION4) != live || entries(BINDINGS) != leads ||
            owned != leads)
            return complain("an entry of the dead left");
        return sound();
    }

    static int empty(void)
    {
        if (now.free_records != (1 << RECORDS) - 1 || now.free_ports != (1 << now.ports) - 1)
            return complain("something left after all sessions have ended");
        return exact();
    }

    /* Records that neither are free nor serve a LIVE session. */
    static int lost_records(void)
    {
        int lost = 0;
        for (int r = 0; r < RECORDS; r++)
            lost += (now.free_records & (1 << r)) == 0 && now.record[r].phase != LIVE && users_of(r) == 0;
        return lost;
    }

    /* Ports that neither are free nor serve a LIVE session. */
    static int lost_ports(void)
    {
        int lost = 0;
        for (int p = 0; p < now.ports; p++) {
            int used = (now.free_ports & (1 << p)) != 0;
            for (int r = 0; r < RECORDS; r++)
                used = used || (now.record[r].phase == LIVE && now.record[r].port == p);
            lost += !used;
        }
        return lost;
    }

    static int few_lost(void)
    {
        if (lost_records() > LOST_RECORDS * now.deaths || lost_ports() > LOST_PORTS * now.deaths)
            return complain("more records or ports lost than the dead account for");
        return 1;
    }

    /* The next start: LIVE records and the leads that they name are true, all else is made anew from them. */
    static void rebuild(void)
    {
        now.free_ports = (1 << now.ports) - 1;
        now.free_records = 0;
        for (int p = 0; p < now.ports; p++)
            now.owner[p] = 0;
        for (int i = 0; i < 3 * RECORDS; i++)
            now.slots[i] = 0;
        for (int r = 0; r < RECORDS; r++) {
            int slot = SLOT(r, now.record[r].generation);
            now.record[r].count = users_of(r);
            if (now.record[r].phase == LIVE) {
                now.slots[SESSION6 * RECORDS + r] = slot;
                now.slots[SESSION4 * RECORDS + r] = slot;
            } else if (now.record[r].count > 0) {
                now.record[r].phase = BINDING;
            } else {
                now.record[r].phase = FREE;
                now.free_records |= 1 << r;
            }
            if (now.record[r].count > 0) {
                now.slots[BINDINGS * RECORDS + r] = slot;
                now.owner[now.record[r].port] = r + 1;
                now.free_ports &= ~(1 << now.record[r].port);
            }
        }
    }

    static int setting(const char *name, int missing)
    {
        const char *value = getenv(name);
        return value != NULL ? atoi(value) : missing;
    }

    static void configure(void)
    {
        now.plans[0] = (short)setting("PLAN0", 0);
        now.plans[1] = (short)setting("PLAN1", 0);
        now.plans[2] = (short)setting("PLAN2", 0);
        now.actors = now.plans[2] != 0 ? 3 : 2;
        now.ports = (unsigned char)setting("PORTS", 2);
        now.free_ports = (unsigned char)((1 << now.ports) - 1);
        now.most_tries = (unsigned char)setting("TRIES", 2);
        now.last_tick = (unsigned char)setting("LAST_TICK", 0);
        now.lifetime = (unsigned char)setting("LIFETIME", 0);
        now.mortal = (unsigned char)setting("DEATHS", 0);
    }
};
