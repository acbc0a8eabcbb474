/* SPDX-License-Identifier: MIT
 *
 * building.c -- says on stderr how far the compiling of kernels is, where it lasts: a line that is redrawn at a
 * terminal, else a line every few seconds.
 */
#include <stdio.h>
#include <unistd.h>

#include "cli/cli.h"
#include "lualign.h"

static const double silent = 1.0, /* seconds before the first word */
    between = 5.0;                /* between two lines where nobody watches */

void la__cli_show_build(void *payload, const la_build *b)
{
    static bool drawn;
    static double next;
    const bool terminal = isatty(STDERR_FILENO), over = b->done == b->total;
    char left[64] = "";
    (void)payload;
    if (b->spent < silent) {
        next = silent;
        return;
    }
    if (terminal && over) {
        if (drawn)
            fprintf(stderr, "\r\033[K");
        drawn = false;
        return;
    }
    if (over || (!terminal && b->spent < next))
        return;
    if (b->left >= 1.0)
        snprintf(left, sizeof left, ", about %.0f s left", b->left);
    fprintf(stderr, terminal ? "\rcompiling kernels %d/%d%s\033[K" : "compiling kernels %d/%d%s\n", b->done, b->total,
            left);
    fflush(stderr);
    drawn = terminal;
    next = b->spent + between;
}
