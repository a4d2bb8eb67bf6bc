#!/usr/bin/env bash
# ansible-core 2.19.14, the check of a module's arguments (ArgumentSpecValidator, as AnsibleModule).
#
# Guess:  a list option that is given as text (from a file, an environment variable, a survey) takes
#         what a dict option takes, JSON, and drops the space after a comma, as dict does.
# Seen:   a dict option reads '{"a": 1}' and 'a=1, b=2'. A list option only splits at commas: JSON
#         becomes pieces with brackets and quotes, 'alice, bob' becomes 'alice' and ' bob', and an
#         empty text becomes a list of one empty text. elements: str takes all of it, so a module
#         creates a user with a space in front; elements: int does refuse JSON.
# So:     choices, or strip and check the elements in the module; from_json or split in a playbook.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/python" -m pip install --quiet --disable-pip-version-check 'ansible-core==2.19.14'
"$dir/venv/bin/python" - <<'PY'
import sys
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator


def given(text, **spec):
    result = ArgumentSpecValidator({"option": spec}).validate({"option": text})
    value = "refused" if result.error_messages else result.validated_parameters["option"]
    print(f"{spec}: {text!r} → {value!r}")
    return value


users = {"type": "list", "elements": "str"}
sys.exit(
    given('{"a": 1}', type="dict") != {"a": 1}
    or given("a=1, b=2", type="dict") != {"a": "1", "b": "2"}
    or given('["alice", "bob"]', **users) != ['["alice"', ' "bob"]']
    or given("alice, bob", **users) != ["alice", " bob"]
    or given("", **users) != [""]
    or given("1, 2", type="list", elements="int") != [1, 2]
    or given("[1, 2]", type="list", elements="int") != "refused"
)
PY
echo "as described"
