"""Which class of the model a class of the data is: the same name in another spelling, and never a guess."""

import json
import os
from pathlib import Path

import pytest

from finercam.contrast.labels import Labels, loosened
from finercam.data.matching import Unmatched, describe, match_classes
from finercam.data.reading import read_dataset
from finercam.errors import FinercamError

SHARED = Path(os.environ.get("FINERCAM_SHARED", ""))
needs_shared = pytest.mark.skipif(
    not os.environ.get("FINERCAM_SHARED") or not (SHARED / "models" / "inat_birds").is_dir(),
    reason="FINERCAM_SHARED has no models/inat_birds",
)

MODEL = Labels(
    [
        "Phoebastria nigripes (Black-footed Albatross)",
        "Euphagus cyanocephalus (Brewer's Blackbird)",
        "Ardea cinerea (Grey Heron)",
        "Chordeiles minor (Common Nighthawk)",
        "Buteo brachyurus",
        "tench, Tinca tinca",
        "Antrostomus carolinensis (Chuck-will’s-widow)",
        "Crypturellus (Tinamú Canelo)",
        "737-200",
    ]
)


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("001.Black_footed_Albatross", 0),
        ("BLACK FOOTED ALBATROSS", 0),
        ("Phoebastria nigripes", 0),
        ("Phoebastria_nigripes (Some Other Name)", 0),
        ("009.Brewer_Blackbird", 1),
        ("BREWERS BLACKBIRD", 1),
        ("Brewer’s Blackbird", 1),
        ("Gray_Heron", 2),
        ("Common Night-Hawk", 3),
        ("Short-tailed Hawk (Buteo brachyurus)", 4),
        ("Tinca tinca", 5),
        ("022.Chuck_will_Widow", 6),
        ("Tinamu canelo", 7),
        ("737 200", 8),
    ],
)
def test_the_same_name_in_another_spelling(name, index):
    assert match_classes([name], MODEL).indices.tolist() == [index]


@pytest.mark.parametrize("name", ["Blackbird", "Albatross", "73-7200", "Herons", "4", "0", "Tinamu", "Night Heron"])
def test_what_is_only_similar_is_no_match(name):
    with pytest.raises(FinercamError, match=r"1 of the data set's 1 classes match no class"):
        match_classes([name], MODEL)


@pytest.mark.parametrize("name", ["Brewers Blackbirt", "no. 3"])
def test_the_complaint_ends_its_list_with_one_mark(name):
    with pytest.raises(FinercamError, match=r"[^?.][?.] Name their matches"):
        match_classes([name], MODEL)


def test_stricter_agreement_comes_first():
    model = Labels(
        ["maillot", "maillot, tank suit", "Brewer Blackbird", "Brewer's Blackbird", "X (Grey Jay)", "Gray Jay"]
    )
    names = ["maillot", "MAILLOT", "Brewer Blackbird", "Brewer's Blackbird", "Gray_Jay", "Grey Jay"]
    assert match_classes(names, model).indices.tolist() == [0, 0, 2, 3, 5, 4]


def test_marks_of_other_scripts_tell_words_apart():
    model = Labels(["かき", "がき", "Straße", "Ёж"])
    assert match_classes(["がき (a)", "かき (a)", "STRASSE", "еж"], model).indices.tolist() == [1, 0, 2, 3]


def test_words_are_joined_and_digits_are_not():
    assert loosened("Le Conte's Sparrow") == loosened("LeConte_Sparrow") == "lecontesparrow"
    assert loosened("A300 B4 747-400") == "a300 b4 747 400"
    assert loosened("Cream-coloured Courser") == loosened("cream colored courser")
    assert loosened("Harris's Hawk") == loosened("Harris Hawk") != loosened("Harri Hawk")


def test_several_of_a_name_are_none():
    model = Labels(["crane", "Grus (Crane)", "crane", "Larus (Herring Gull)", "Chroicocephalus (Herring gull)"])
    names = ["crane", "Herring Gull", "Grus"]
    matching = match_classes(names, model, skip_unmatched=True)
    assert matching.indices.tolist() == [-1, -1, 1]
    assert matching.unmatched == (
        Unmatched(0, "crane", ("crane (0)", "crane (2)")),
        Unmatched(1, "Herring Gull", ("Larus (Herring Gull) (3)", "Chroicocephalus (Herring gull) (4)")),
    )
    with pytest.raises(FinercamError, match=r"crane: may be any of crane \(0\), crane \(2\)"):
        match_classes(names, model)
    with pytest.raises(FinercamError, match=r"'crane' is the name of 2 classes"):
        model.index("crane")


def test_the_unmatched_are_listed_with_what_to_do():
    names = ["Black-footed Albatross", "Brewers Blackbirt", *(f"no. {n}" for n in range(14))]
    with pytest.raises(FinercamError) as caught:
        match_classes(names, MODEL)
    message = str(caught.value)
    assert message.startswith("15 of the data set's 16 classes match no class of the model")
    assert 'Brewers Blackbirt: did you mean "Euphagus cyanocephalus (Brewer\'s Blackbird)"' in message
    assert "no. 8" in message
    assert "no. 9" not in message
    assert "... and 5 more" in message
    assert "--match FILE.csv" in message
    assert "no. 8: the model has nothing like it" in message
    assert "\n" not in message
    assert "--skip-unmatched" in message
    matching = match_classes(names, MODEL, skip_unmatched=True)
    assert matching.indices.tolist() == [0] + [-1] * 15
    assert describe(matching.unmatched, MODEL, 1)[1] == "... and 14 more"
    # Nothing would be left.
    with pytest.raises(FinercamError) as caught:
        match_classes(names[2:], MODEL, skip_unmatched=True)
    assert "--skip-unmatched" not in str(caught.value)


def test_only_classes_with_pictures_matter():
    names = ["a", "Brewer Blackbird", "b", "Grey Heron"]
    matching = match_classes(names, MODEL, only={1})
    assert matching.indices.tolist() == [-1, 1, -1, -1]
    assert matching.unmatched == ()
    with pytest.raises(FinercamError, match=r"1 of the data set's 2 classes"):
        match_classes(names, MODEL, only={0, 1})


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("header", ["", "data class,model class\n", "\ufeffbird,theirs\n"])
def test_a_mapping_says_which(tmp_path, header):
    text = f'{header}mine, Grey Heron\n\n"yours, too",5\nBrewer Blackbird,\n'
    names = ["mine", "yours, too", "Brewer Blackbird", "Common Nighthawk"]
    matching = match_classes(names, MODEL, write(tmp_path / "map.csv", text))
    assert matching.indices.tolist() == [2, 5, -1, 3]
    assert matching.skipped == (2,)
    assert matching.unmatched == ()
    same = {"mine": "Grey Heron", "yours, too": 5, "Brewer Blackbird": None}
    assert match_classes(names, MODEL, same).indices.tolist() == [2, 5, -1, 3]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mine,0\nother,1\n", r"map.csv, line 2, data class: no class is called 'other'; choose from: mine, yours"),
        (
            "mine,Grey Heron\nyours,Grey Hero\n",
            r"map.csv, line 2, model class: .* 'Grey Hero'; .*Heron",
        ),
        ("mine,9\n", r"map.csv, line 1, model class: class index 9 is out of range"),
        ("mine,0\n\nMINE,1\n", r"map.csv, line 3: 'mine' is already mapped in .*map.csv, line 1"),
        ("mine,0,1\n", r"map.csv, line 1: 3 columns; give two"),
        ("mine;0\n", r"map.csv, line 1: 1 columns; give two"),
        # A slip in the first line is no header.
        ("mien,0\n", r"map.csv, line 1, data class: no class is called 'mien'"),
        ("mine,Gray Herron\n", r"map.csv, line 1, model class: no class is called 'Gray Herron'"),
    ],
)
def test_a_bad_line_of_a_mapping_is_named(tmp_path, text, message):
    with pytest.raises(FinercamError, match=message):
        match_classes(["mine", "yours"], MODEL, write(tmp_path / "map.csv", text))


def test_a_mapping_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(FinercamError, match=r"there is no file .*none.csv"):
        match_classes(["mine"], MODEL, tmp_path / "none.csv")
    (tmp_path / "map.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(FinercamError, match=r"map.csv cannot be read as a table"):
        match_classes(["mine"], MODEL, str(tmp_path / "map.csv"))


def test_one_model_class_for_several_is_told():
    names = ["Grey Heron", "ardea cinerea", "Brewer Blackbird"]
    matching = match_classes(names, MODEL)
    assert matching.indices.tolist() == [2, 2, 1]
    assert matching.shared == {2: (0, 1)}


def test_a_model_without_names_has_to_be_mapped():
    assert match_classes(["a", "b"], None, {"a": 1, "b": "0"}, classes=2).indices.tolist() == [1, 0]
    with pytest.raises(FinercamError, match=r"b: the model has no class names"):
        match_classes(["a", "b"], None, {"a": 1}, classes=2)
    with pytest.raises(FinercamError, match=r"class index 2 is out of range"):
        match_classes(["a", "b"], None, {"a": 2}, classes=2)


@needs_shared
def test_six_of_ten_real_classes_are_the_models():
    dataset = read_dataset(f"cub:{SHARED / 'data' / 'cub10'}", "all")
    config = json.loads((SHARED / "models" / "inat_birds" / "config.json").read_text())
    model = Labels(config.get("label_names") or config["pretrained_cfg"]["label_names"])
    here = {item.label for item in dataset.items()}
    assert len(here) == 10
    with pytest.raises(FinercamError, match=r"4 of the data set's 10 classes match no class"):
        match_classes(dataset.class_names, model, only=here)
    matching = match_classes(dataset.class_names, model, skip_unmatched=True, only=here)
    found = {
        dataset.class_names[label][4:]: model[index]
        for label, index in enumerate(matching.indices.tolist())
        if index >= 0
    }
    assert found == {
        "Black_footed_Albatross": "Phoebastria nigripes (Black-footed Albatross)",
        "Laysan_Albatross": "Phoebastria immutabilis (Laysan Albatross)",
        "Groove_billed_Ani": "Crotophaga sulcirostris (Groove-billed Ani)",
        "Rhinoceros_Auklet": "Cerorhinca monocerata (Rhinoceros Auklet)",
        "Brewer_Blackbird": "Euphagus cyanocephalus (Brewer's Blackbird)",
        "Red_winged_Blackbird": "Agelaius phoeniceus (Red-winged Blackbird)",
    }
    assert matching.shared == {}
    assert [one.name[4:] for one in matching.unmatched] == [
        "Sooty_Albatross",
        "Crested_Auklet",
        "Least_Auklet",
        "Parakeet_Auklet",
    ]
