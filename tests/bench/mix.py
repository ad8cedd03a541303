"""Requests as wrk makes them that are not the same each time, in its own language.

`mix` is what people ask of a service: one of a thousand asks about one of two hundred things,
both by Zipf's law (the n-th is asked for 1/n as often as the first), and one question in ten is
about a thing that nobody has asked about before. `never_the_same` is nothing but such questions.
"""

from typing import Final

PERSONS: Final = 1000
THINGS: Final = 200
NEW: Final = 0.1
_URL: Final = "http://api.test/things/"

# A run begins where no other does: what is asked in one is asked in no other.
_NUMBER: Final = "local number = (os.time() % 100000) * 1000000\n"
_ASKED: Final = """\
local function asked(subject, thing)
  return wrk.format(nil, nil, nil, '{"protocol":"http",' .. subject .. '"call":{"method":"GET",' ..
    '"url":"%s' .. thing .. '"}}')
end
"""
_NEVER_THE_SAME: Final = """\
function request()
  number = number + 1
  return asked('', number)
end
"""
# Each question is made once: what the load costs is taken from the same machine.
_MIX: Final = """\
local function zipf(count)
  local below, all = {}, 0
  for nth = 1, count do all = all + 1 / nth; below[nth] = all end
  return function()
    local at, low, high = math.random() * all, 1, count
    while low < high do
      local middle = math.floor((low + high) / 2)
      if below[middle] < at then low = middle + 1 else high = middle end
    end
    return low
  end
end
local person, thing, made = zipf(%d), zipf(%d), {}
function request()
  local who, what = person(), thing()
  local subject = '"subject":{"type":"user","id":"user-' .. who .. '"},'
  if math.random() < %g then
    number = number + 1
    return asked(subject, number)
  end
  local nth = who * 1000 + what
  made[nth] = made[nth] or asked(subject, what)
  return made[nth]
end
"""


def never_the_same() -> str:
    """Return a script that asks what nobody has asked before, each time."""
    return _NUMBER + _ASKED % _URL + _NEVER_THE_SAME


def mix() -> str:
    """Return a script that asks as people do."""
    return _NUMBER + _ASKED % _URL + _MIX % (PERSONS, THINGS, NEW)
