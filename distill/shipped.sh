#!/usr/bin/env bash
# Train the student that the package ships: distill/shipped.sh DATA EVAL OUT
# DATA holds one folder per source with files en-xx.tsv.gz. Pairs with a sentence of the evaluation sets tatoeba, pud and
# sts in EVAL are dropped. The first pass (shipped.yaml) learns the table; the second (shipped_hard.yaml on top) goes on
# with neighbours in each batch. Of the sources under the GPL or AGPL, only interface text of Android and MediaWiki is used
# (partly Apache-2.0 and MIT; 1,345 of the 2,431 Telugu sentences).
set -euo pipefail
data=$1 eval=$2 out=$3
here=$(cd "$(dirname "$0")" && pwd)
sources=()
for source in android_strings bitcoin_org comprehensive_rust django_docs freecodecamp freecodecamp_mt gnome_user_docs \
  mediawiki_ext mlqe_pe monero_site mozilla_www omw_lexicon opensource_guide python_docs stsb_mt_train \
  tanaka_small_enja tatoeba_challenge_test tatoeba_manythings tico19 tldr wmt_newstest wmt_tests; do
  sources+=("$data/$source")
done
distill() {
  python -m compact_labse distill --config "$here/shipped.yaml" "$@" \
    --corpus.avoid "$eval/tatoeba" "$eval/pud" "$eval/sts" --data "${sources[@]}" --targets "$out.targets"
}

distill --out "$out.first"
distill --config "$here/shipped_hard.yaml" --student.start "$out.first" --out "$out"
