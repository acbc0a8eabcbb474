/* SPDX-License-Identifier: MIT
 *
 * terminal.c -- reading a line: with readline at a terminal, else plainly.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#ifdef LUALIGN_READLINE
#include <readline/history.h>
#include <readline/readline.h>
#endif

#include "cli/cli.h"
#include "util/util.h"

bool la__terminal_is_interactive(void)
{
    return isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
}

/* fgets for lines of any length; Ctrl-C ends the read, so for its time interrupted calls are not restarted. */
static int plain_line(char **out, const char *prompt)
{
    size_t size = 0;
    struct sigaction action;

    *out = NULL;
    if (la__terminal_is_interactive()) {
        fputs(prompt, stdout);
        fflush(stdout);
    }
    if (sigaction(SIGINT, NULL, &action) == 0) {
        action.sa_flags = (int)((unsigned)action.sa_flags & ~(unsigned)SA_RESTART);
        sigaction(SIGINT, &action, NULL);
    }
    const ssize_t n = getline(out, &size, stdin);
    if (n >= 0) {
        if (n > 0 && (*out)[n - 1] == '\n')
            (*out)[n - 1] = '\0';
        return 1;
    }
    free(*out);
    *out = NULL;
    if (errno == EINTR && la__interrupt_pending()) {
        clearerr(stdin);
        fputs("^C\n", stdout);
        return -1;
    }
    return 0;
}

#ifdef LUALIGN_READLINE

static lua_State *completing; /* the state whose registry holds the completer; NULL: there is none */
static const char completer_key = 0;

/* What readline reads keys with. Its own handler only notes a signal; rl_check_signals passes it on to ours. After
 * Ctrl-C the line is given up: an empty one is returned. */
static int read_key(FILE *stream)
{
    unsigned char key;
    for (;;) {
        const ssize_t n = read(fileno(stream), &key, 1);
        if (n == 1)
            return key;
        if (n == 0 || errno != EINTR)
            return EOF;
        rl_check_signals();
        if (la__interrupt_pending()) {
            rl_replace_line("", 0);
            return '\n';
        }
    }
}

/* readline's generator: the candidates are a list at the top of the Lua stack while rl_completion_matches runs. */
static char *next_candidate(const char *word, int state)
{
    static lua_Integer at;
    (void)word;
    at = state == 0 ? 1 : at + 1;
    const bool is_text = lua_rawgeti(completing, -1, at) == LUA_TSTRING;
    char *copy = is_text ? strdup(lua_tostring(completing, -1)) : NULL;
    lua_pop(completing, 1);
    return copy;
}

static char **complete(const char *word, int start, int end)
{
    char **matches = NULL;
    lua_State *L = completing;
    (void)end;
    rl_attempted_completion_over = 1; /* no file names */
    rl_completion_append_character = '\0';
    if (!L || !lua_checkstack(L, 8))
        return NULL;
    const int top = lua_gettop(L);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &completer_key);
    lua_pushstring(L, word);
    lua_pushstring(L, rl_line_buffer);
    lua_pushinteger(L, start + 1);
    if (lua_pcall(L, 3, 1, 0) == LUA_OK && lua_istable(L, -1))
        matches = rl_completion_matches(word, next_candidate);
    lua_settop(L, top);
    return matches;
}

static void set_up(void)
{
    static bool done;
    if (done)
        return;
    done = true;
    rl_readline_name = "lualign";
    rl_getc_function = read_key;
    rl_attempted_completion_function = complete;
    rl_basic_word_break_characters = " \t\n\"'><=;,+-*/%^~#{}()[]&|!?";
    rl_completer_word_break_characters = rl_basic_word_break_characters;
    history_comment_char = '#'; /* with time stamps in the file, an entry may have several lines */
    history_write_timestamps = 1;
    using_history();
    stifle_history(1000);
}

int la__terminal_line(char **out, lua_State *L, const char *prompt)
{
    if (!la__terminal_is_interactive())
        return plain_line(out, prompt);
    set_up();
    if (completing)
        completing = L;
    *out = readline(prompt);
    if (la__interrupt_pending()) {
        free(*out);
        *out = NULL;
        return -1;
    }
    return *out != NULL;
}

const char *la__terminal_editor(void)
{
    static char text[64];
    snprintf(text, sizeof text, "readline %s", rl_library_version);
    return text;
}

void la__terminal_add_history(const char *text)
{
    set_up();
    const HIST_ENTRY *last = history_length > 0 ? history_get(history_base + history_length - 1) : NULL;
    if (!last || strcmp(last->line, text) != 0)
        add_history(text);
}

int la__terminal_read_history(const char *path)
{
    set_up();
    return read_history(path) == 0 ? 0 : la_fail(LA_EIO, "the history '%s' cannot be read", path);
}

int la__terminal_write_history(const char *path)
{
    return write_history(path) == 0 ? 0 : la_fail(LA_EIO, "the history '%s' cannot be written", path);
}

void la__terminal_set_completer(lua_State *L)
{
    completing = L;
    lua_rawsetp(L, LUA_REGISTRYINDEX, &completer_key);
}

#else

int la__terminal_line(char **out, lua_State *L, const char *prompt)
{
    (void)L;
    return plain_line(out, prompt);
}

const char *la__terminal_editor(void)
{
    return "none";
}

void la__terminal_add_history(const char *text)
{
    (void)text;
}

int la__terminal_read_history(const char *path)
{
    (void)path;
    return 0;
}

int la__terminal_write_history(const char *path)
{
    (void)path;
    return 0;
}

void la__terminal_set_completer(lua_State *L)
{
    lua_pop(L, 1);
}

#endif
