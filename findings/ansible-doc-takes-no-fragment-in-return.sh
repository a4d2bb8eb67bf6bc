#!/usr/bin/env bash
# ansible-core 2.19.14 (ansible-doc).
#
# Guess:  extends_documentation_fragment works in a module's RETURN as in its DOCUMENTATION, or is
#         refused by name; and a module that `ansible-doc --json` and `ansible-doc --list` show
#         without an error is one that ansible-doc can show.
# Seen:   the key is taken for a returned value of that name. --json prints it as such and --list
#         lists the module, both with status 0, and nothing of the fragment is added. ansible-doc
#         without --json ends with status 1 and an error that names neither the key nor RETURN:
#         "dictionary update sequence element #0 has length 1; 2 is required".
# So:     write shared returned values out in each module, and check the text form.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
export ANSIBLE_HOME="$dir/home" ANSIBLE_COLLECTIONS_PATH="$dir" ANSIBLE_NOCOLOR=1 LC_ALL=C.UTF-8
unset ANSIBLE_CONFIG; cd "$dir"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check 'ansible-core==2.19.14'
plugins=ansible_collections/acme/line/plugins
mkdir -p $plugins/modules $plugins/doc_fragments
cat > $plugins/doc_fragments/common.py <<'PY'
class ModuleDocFragment:
    DOCUMENTATION = """
options:
  host:
    description: The server.
    type: str
"""
    RETURN = """
tenant:
  description: The tenant.
  returned: always
  type: str
"""
PY
for module in good bad; do
  cat > $plugins/modules/$module.py <<PY
DOCUMENTATION = """
module: $module
short_description: Does something
description: [Does something.]
author: [Acme]
extends_documentation_fragment: acme.line.common
"""
EXAMPLES = "- acme.line.$module:"
RETURN = """
own:
  description: A value of its own.
  returned: always
  type: str
"""
PY
done
sed -i 's/^own:/extends_documentation_fragment: acme.line.common\n&/' $plugins/modules/bad.py
for module in good bad; do
  status=0; venv/bin/ansible-doc acme.line.$module > text 2> error || status=$?
  venv/bin/ansible-doc --json acme.line.$module > json
  python3 - $module $status >> seen <<'PY'
import json, sys
shown = json.load(open("json"))["acme.line." + sys.argv[1]]
print(sys.argv[1], "options", *shown["doc"]["options"], "returns", *sorted(shown["return"]), "text", sys.argv[2])
PY
done
cat seen error
[ "$(cat seen)" = 'good options host returns own text 0
bad options host returns extends_documentation_fragment own text 1' ]
tr '\n' ' ' < error > line; grep -q 'dictionary update sequence element #0 has length 1; 2 is required' line
if grep -q RETURN error; then exit 1; fi
venv/bin/ansible-doc --list acme.line > list; grep acme.line.bad list
echo "as described"
