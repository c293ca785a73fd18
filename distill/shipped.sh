#!/usr/bin/env bash
# Train the student that the package ships: distill/shipped.sh DATA EVAL OUT [options of distill]
# DATA holds one folder per source with files en-xx.tsv.gz; sources under the GPL or AGPL are left out. Pairs with a
# sentence of the evaluation sets tatoeba, pud and sts in EVAL are dropped.
set -euo pipefail
data=$1 eval=$2 out=$3
here=$(cd "$(dirname "$0")" && pwd)
sources=()
for source in bitcoin_org comprehensive_rust django_docs freecodecamp freecodecamp_mt gnome_user_docs mlqe_pe \
  monero_site mozilla_www omw_lexicon opensource_guide python_docs stsb_mt_train tanaka_small_enja \
  tatoeba_challenge_test tatoeba_manythings tico19 tldr wmt_newstest wmt_tests; do
  sources+=("$data/$source")
done
exec python -m compact_labse distill --config "$here/shipped.yaml" --data "${sources[@]}" \
  --corpus.avoid "$eval/tatoeba" "$eval/pud" "$eval/sts" --out "$out" "${@:4}"
