#include "cachecore/json_depth.h"

bool json_is_shallow(const char *text, size_t len, size_t max)
{
    size_t depth = 0;
    bool in_text = false;
    for (size_t i = 0; i < len; i++) {
        if (in_text && text[i] == '\\')
            i++;
        else if (text[i] == '"')
            in_text = !in_text;
        else if (!in_text && (text[i] == '{' || text[i] == '['))
            depth++;
        else if (!in_text && (text[i] == '}' || text[i] == ']') && depth > 0)
            depth--;
        if (depth > max)
            return false;
    }
    return true;
}
