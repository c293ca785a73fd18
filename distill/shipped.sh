#!/usr/bin/env bash
# Train the student that the package ships and export it: distill/shipped.sh DATA EVAL OUT [SETTING]...
# DATA holds one folder per source with files en-xx.tsv.gz. Pairs with a sentence of the evaluation sets tatoeba, pud and
# sts in EVAL are dropped. The first pass (shipped.yaml) learns the table; the second (shipped_hard.yaml on top) goes on
# with neighbours in each batch, the third (shipped_alike.yaml) with more of the teacher's similarities. OUT is the student
# in float32, OUT.export its file of 3 bits. Interrupted, the same line goes on. Of the sources under the GPL or AGPL, only
# interface text of Android and MediaWiki is used (partly Apache-2.0 and MIT; 1,345 of the 2,431 Telugu sentences).
set -euo pipefail
if [ $# -lt 3 ]; then
  echo "usage: distill/shipped.sh DATA EVAL OUT [SETTING]..., such as --student.dim 512" >&2
  exit 2
fi
data=$1 eval=$2 out=$3
shift 3
settings=("$@")
here=$(cd "$(dirname "$0")" && pwd)
sources=()
for source in android_strings bitcoin_org comprehensive_rust django_docs freecodecamp freecodecamp_mt gnome_user_docs \
  mediawiki_ext mlqe_pe monero_site mozilla_www omw_lexicon opensource_guide python_docs stsb_mt_train \
  tanaka_small_enja tatoeba_challenge_test tatoeba_manythings tico19 tldr wmt_newstest wmt_tests; do
  sources+=("$data/$source")
done
# pass FOLDER OPTION...: a student in FOLDER, unless a former call has finished it.
pass() {
  local folder=$1
  shift
  [ -e "$folder/lineage.json" ] || python -m compact_labse distill --config "$here/shipped.yaml" "$@" --out "$folder" \
    --corpus.avoid "$eval/tatoeba" "$eval/pud" "$eval/sts" --data "${sources[@]}" --targets "$out.targets" \
    "${settings[@]}"
}

# How often captions and other sentences that are alike are drawn differs from pass to pass.
pass "$out.first" --corpus.weights.stsb_mt_train 2
pass "$out.second" --corpus.weights.stsb_mt_train 3 --config "$here/shipped_hard.yaml" --student.start "$out.first"
pass "$out" --corpus.weights.stsb_mt_train 6 --config "$here/shipped_alike.yaml" --student.start "$out.second"
[ -e "$out.export/lineage.json" ] ||
  python -m compact_labse export "$out" --onnx --int3 --external-data --out "$out.export"
