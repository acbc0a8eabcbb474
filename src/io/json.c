/* SPDX-License-Identifier: MIT
 *
 * json.c -- cJSON behind an interface of our own, so that the binding needs none of it.
 */
#include "io/json.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <string.h>

#include "util/util.h"

size_t la__utf8_fault(const char *text, size_t n)
{
    const unsigned char *p = (const unsigned char *)text;
    for (size_t i = 0; i < n;) {
        const unsigned c = p[i];
        const size_t more = c < 0x80                ? 0
                            : c >= 0xc2 && c < 0xe0 ? 1
                            : c >= 0xe0 && c < 0xf0 ? 2
                            : c >= 0xf0 && c < 0xf5 ? 3
                                                    : 9;
        if (more == 9 || n - i <= more)
            return i + 1;
        for (size_t k = 1; k <= more; k++)
            if ((p[i + k] & 0xc0) != 0x80)
                return i + 1;
        const unsigned second = more ? p[i + 1] : 0; /* too long, a surrogate, past U+10FFFF */
        if ((c == 0xe0 && second < 0xa0) || (c == 0xed && second > 0x9f) || (c == 0xf0 && second < 0x90) ||
            (c == 0xf4 && second > 0x8f))
            return i + 1;
        i += more + 1;
    }
    return 0;
}

/* cJSON's strings end at the first NUL, so that one inside would cut a name short. */
static int check_text(const char *text, size_t n, const char *what)
{
    const size_t fault = la__utf8_fault(text, n);
    if (fault)
        return la_fail(LA_EFORMAT, "%s: byte %zu of the JSON is no UTF-8", what, fault);
    for (size_t i = 0; i < n; i++) {
        if (text[i] == '\0')
            return la_fail(LA_EFORMAT, "%s: byte %zu of the JSON is a NUL", what, i + 1);
        if (text[i] != '\\')
            continue;
        if (n - i >= 6 && memcmp(text + i, "\\u0000", 6) == 0)
            return la_fail(LA_EFORMAT, "%s: byte %zu of the JSON: strings with \\u0000 are not taken", what, i + 1);
        i++;
    }
    return 0;
}

static bool all_finite(const cJSON *json)
{
    if (cJSON_IsNumber(json) && !isfinite(json->valuedouble))
        return false;
    for (const cJSON *child = json->child; child; child = child->next)
        if (!all_finite(child))
            return false;
    return true;
}

int la__json_parse(la_json **out, const char *text, size_t n, const char *what)
{
    int err = 0;
    const char *end = text;
    cJSON *json = NULL;
    *out = NULL;
    LA_TRY(check_text(text, n, what));
    json = cJSON_ParseWithLengthOpts(text, n, &end, 0);
    if (!json) {
        err = la_fail(LA_EFORMAT, "%s: no JSON at byte %zu", what, (size_t)(end - text) + 1);
        goto done;
    }
    while (end < text + n && strchr(" \t\r\n", *end))
        end++;
    if (end < text + n) {
        err = la_fail(LA_EFORMAT, "%s: byte %zu comes after the end of the JSON", what, (size_t)(end - text) + 1);
        goto done;
    }
    if (!all_finite(json)) {
        err = la_fail(LA_EFORMAT, "%s: the JSON has a number that is too large", what);
        goto done;
    }
    *out = json;
    json = NULL;
done:
    cJSON_Delete(json);
    return err;
}

void la__json_free(la_json **json)
{
    cJSON_Delete(*json);
    *json = NULL;
}

la_json_kind la__json_kind(const la_json *json)
{
    switch (json->type & 0xff) {
    case cJSON_False: return LA_JSON_FALSE;
    case cJSON_True: return LA_JSON_TRUE;
    case cJSON_Number: return LA_JSON_NUMBER;
    case cJSON_String: return LA_JSON_STRING;
    case cJSON_Array: return LA_JSON_ARRAY;
    case cJSON_Object: return LA_JSON_OBJECT;
    default: return LA_JSON_NULL;
    }
}

double la__json_number(const la_json *json)
{
    return json->valuedouble;
}

const char *la__json_string(const la_json *json)
{
    return json->valuestring;
}

const char *la__json_key(const la_json *json)
{
    return json->string;
}

const la_json *la__json_first(const la_json *json)
{
    return json->child;
}

const la_json *la__json_next(const la_json *json)
{
    return json->next;
}
