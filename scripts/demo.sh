#!/usr/bin/env bash
# The three steps on a copy of example_dataset, then scenes composed of what they made: with the tiny
# models of this repository, offline.
# Run it again to continue; remove the output folder to start afresh. Settings, with their defaults:
#   DEMO_OUTPUT=demo_output         folder that receives the copy and everything that is made
#   DEMO_IMAGES_PER_CLASS=60        images of each class (two classes)
#   DEMO_SCENES_PER_CLASS=60        scenes of each class, composed of its images
#   DEMO_INVERSION_STEPS=500        training steps for each object in step 1
#   DEMO_SEED=0                     another seed gives other images
#   DEMO_WORKERS=0                  processes; 0 is one per visible GPU, or just one
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash scripts/setup_env.sh

output=${DEMO_OUTPUT:-demo_output}
images_per_class=${DEMO_IMAGES_PER_CLASS:-60}
scenes_per_class=${DEMO_SCENES_PER_CLASS:-60}
inversion_steps=${DEMO_INVERSION_STEPS:-500}
seed=${DEMO_SEED:-0}
workers=${DEMO_WORKERS:-0}
started=$SECONDS

# Copies what a user would bring, dataset.json and the support pairs, and nothing that a step made.
copy_example() {
  local folder
  mkdir -p "$output"
  cp example_dataset/dataset.json "$output/"
  for folder in example_dataset/*/; do
    case $(basename "$folder") in
      photos | synthesized | sheets | gallery | exports) continue ;;
    esac
    mkdir -p "$output/$(basename "$folder")"
    find "$folder" -maxdepth 1 -type f -exec cp {} "$output/$(basename "$folder")/" \;
  done
}

# Prompts of scenes' backgrounds, in the words that the tiny model knows: other things, cut out by
# their heatmaps to be pasted beside and over the objects.
write_background_prompts() {
  local thing
  for thing in house tree boat star cup car; do
    echo "$thing: a photo of a $thing"
  done >"$output/backgrounds.txt"
}

# run_step TITLE MODULE OPTION...: one step with its elapsed time; stops the demo when it fails.
run_step() {
  local title=$1 module=$2 step_started=$SECONDS status=0
  shift 2
  echo
  echo "== $title"
  .venv/bin/python -m "$module" --dataset_dir "$output" --workers "$workers" "$@" || status=$?
  if [ "$status" != 0 ]; then
    echo "demo: step '$title' ended with exit code $status (see above)" >&2
    exit "$status"
  fi
  echo "== $title: $((SECONDS - step_started)) s"
}

copy_example
run_step "step 1 of 3, learn the look of each object" scripts.image_mask_inversion \
  --inversion_steps "$inversion_steps" --seed "$seed"
run_step "step 2 of 3, make images and heatmaps" scripts.diffuse_img_attention \
  --image_per_class "$images_per_class" --heatmap refined --seed "$seed"
run_step "step 3 of 3, turn heatmaps into masks" scripts.mask_generation
write_background_prompts
run_step "scenes, 1 of 2: draw other things as backgrounds" scripts.draw_backgrounds \
  --prompts "$output/backgrounds.txt" --image_per_entry 4 --seed "$seed"
run_step "scenes, 2 of 2: paste the objects into them" scripts.compose_scenes \
  --count "$scenes_per_class" --seed "$seed"

cat <<END

Done in $((SECONDS - started)) s. Look at the contact sheets:
  $output/sheets/1_inversion.png    what was learned
  $output/sheets/2_synthesis.png    images and heatmaps
  $output/sheets/3_masks.png        images and masks
  $output/sheets/4_scenes.png       objects among other things, and their masks
The labelled images are in
  $output/synthesized/<entry>/generated_images, attention_masks, aligndiff_masks
END
