#!/bin/sh
# Store, search, get, list and delete with curl alone. Needs a running daemon (`t4dm serve`).
set -eu

BASE="${T4DM_URL:-http://127.0.0.1:8765}"
ID="http-example"

# Send a JSON body. --fail-with-body: an error answer is printed and ends the script.
call() {
    curl --silent --show-error --fail-with-body --noproxy '*' \
        --header 'Content-Type: application/json' --request "$1" "$BASE$2" ${3+--data "$3"} \
        --write-out ' [%{http_code}]\n'
}

echo "# store"
call POST /api/v1/memory/store \
    "{\"id\": \"$ID\", \"content\": \"The ferry leaves from pier four on weekdays.\", \"metadata\": {\"topic\": \"travel\"}}"

echo "# search by meaning"
call POST /api/v1/memory/search '{"query": "where do I catch the boat", "k": 1}'

echo "# get by id"
call GET "/api/v1/memory/$ID"

echo "# list, filtered"
call POST /api/v1/memory/list '{"filter": {"field": "topic", "op": "eq", "value": "travel"}, "limit": 5}'

echo "# delete"
call DELETE "/api/v1/memory/$ID"

echo "# gone: the answer is an error object"
curl --silent --show-error --noproxy '*' --write-out ' [%{http_code}]\n' "$BASE/api/v1/memory/$ID"
