"""What `lightadapt.tasks.encoding.legibility` says of tokenizers and texts: by language, of odd texts, of data sets.

    python benchmarks/legibility.py MODEL... [--data FOLDER]

MODEL is a folder or an id on the hub; without one, the encoder of the extra `demo`. FOLDER holds `.jsonl` and `.conll`
files, below it at any depth: all texts in them are tried, and only what is warned of is printed.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data_sets import find_encoder
from transformers import AutoTokenizer

from lightadapt import sample
from lightadapt.tasks.encoding.legibility import BREAKS, LOSSES, Legibility, legibility, sample_texts

LANGUAGES = {
    "German": [
        "Mein Paket ist immer noch nicht da, können Sie bitte nachsehen?",
        "Ich möchte das Geld für den Stuhl zurück, er war beschädigt.",
        "Wo finde ich die Rechnung für die Bestellung von gestern?",
    ],
    "French": [
        "Mon colis n'est toujours pas arrivé, pouvez-vous vérifier ?",
        "Je voudrais être remboursée, la chaise était abîmée.",
        "Où puis-je télécharger la facture de la commande passée hier ?",
    ],
    "Turkish": [
        "Kargom hâlâ gelmedi, lütfen kontrol eder misiniz?",
        "Sandalye kırık çıktı, paramı geri istiyorum.",
        "Dün verdiğim siparişin faturasını nereden indirebilirim?",
    ],
    "Czech": [
        "Můj balík stále nedorazil, můžete to prosím ověřit?",
        "Židle přišla poškozená, chci vrátit peníze.",
        "Kde si mohu stáhnout fakturu za včerejší objednávku?",
    ],
    "Vietnamese": [
        "Gói hàng của tôi vẫn chưa đến, xin hãy kiểm tra giúp tôi.",
        "Chiếc ghế bị hỏng, tôi muốn lấy lại tiền.",
        "Tôi có thể tải hóa đơn của đơn hàng hôm qua ở đâu?",
    ],
    "Russian": [
        "Моя посылка до сих пор не пришла, проверьте, пожалуйста.",
        "Стул пришёл сломанным, верните мне деньги.",
        "Где можно скачать счёт за вчерашний заказ?",
    ],
    "Greek": [
        "Το δέμα μου δεν έφτασε ακόμα, μπορείτε να το ελέγξετε;",
        "Η καρέκλα ήρθε σπασμένη, θέλω πίσω τα χρήματά μου.",
    ],
    "Arabic": ["لم يصل طردي بعد، هل يمكنكم التحقق من فضلكم؟", "وصل الكرسي مكسورا وأريد استرداد نقودي."],
    "Hindi": ["मेरा पार्सल अभी तक नहीं आया, कृपया जाँच कीजिए।", "कुर्सी टूटी हुई मिली, मुझे पैसे वापस चाहिए।"],
    "Thai": ["พัสดุของฉันยังไม่มาถึง ช่วยตรวจสอบให้หน่อย", "เก้าอี้เสียหาย ฉันต้องการเงินคืน"],
    "Korean": ["택배가 아직도 안 왔어요, 확인해 주세요.", "의자가 부서진 채로 와서 환불받고 싶어요."],
    "Japanese": [
        "荷物がまだ届かないので確認してください。",
        "椅子が壊れていたので返金してほしいです。",
        "昨日の注文の領収書はどこでダウンロードできますか。",
    ],
    "Chinese": [record["text"] for record in sample.records("test", language="zh")],
}
ENGLISH = [record["text"] for record in sample.records("test")]
FORMS = {
    "English": ENGLISH,
    "capitals": [text.upper() for text in ENGLISH] + [text.upper() for text in LANGUAGES["German"]],
    "emoji": [
        "love it 😍😍 best day everrr 🎉🎉 #blessed",
        "so tired 😴 need coffee ☕️ 👩‍💻",
        "happy bday @anna 🎂🥳❤️ miss u!!",
        "😂😂😂",
        "❤️",
        "wow😍 so pretty 💖 where did u get it",
        "that game tho 🔥🔥🔥",
        "thanks for the follow! 🙏🏽",
        "🤔 not sure about this one... #hmm",
    ],
    "code": Path(__file__).read_text(encoding="utf-8").split("LANGUAGES = ")[0].splitlines(),
    "addresses": [
        f"https://www.example.com/products/{number * 37}?utm_source=letter&id=af{number}#reviews"
        for number in range(50)
    ],
    "compounds": [
        "Kraftfahrzeughaftpflichtversicherungsbeitrag",
        "Die Straßenbahnhaltestellenbeschilderung fehlt.",
        "Krankenversicherungsnachweis und Arbeitsunfähigkeitsbescheinigung",
        "Grundstücksverkehrsgenehmigungszuständigkeit",
    ],
    "numbers": [
        "12345 67890",
        "3.14159 2.71828",
        "1,234,567.89 EUR",
        "0x1F 42 1e-5",
        "2024-01-31 12:45",
        "+49 30 1234567",
    ],
    "names": ["Zoë Müller met José Núñez, Łukasz Dvořák and Søren in Tromsø, São Paulo and Reykjavík last week"],
}


def texts_of(file: Path) -> list[str]:
    """The texts in a file, whatever they are called."""
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".conll":
        sentences = text.split("\n\n")
        return [" ".join(line.split()[0] for line in each.splitlines() if line.strip()) for each in sentences]
    rows: list[Any] = [json.loads(line) for line in text.split("\n") if line]
    return sample_texts(rows)


def measured(model: str, folder: Path | None) -> Iterator[tuple[str, Legibility, float]]:
    """The name of each kind of text, how the model's tokenizer reads it, and the seconds of processor time."""
    tokenizer = AutoTokenizer.from_pretrained(model)
    files = sorted(each for each in folder.rglob("*") if each.suffix in (".jsonl", ".conll")) if folder else []
    for name, texts in [*FORMS.items(), *LANGUAGES.items(), *((str(file), texts_of(file)) for file in files)]:
        start = time.process_time()
        yield name, legibility(sample_texts(texts), tokenizer), time.process_time() - start


def main() -> None:
    """Print a table for each tokenizer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*")
    parser.add_argument("--data", type=Path)
    given = parser.parse_args()
    for model in given.models or [find_encoder()]:
        print(f"\n{model}\n\n| texts | lost | broken | stripped | warned of |\n|---|---|---|---|---|")
        files, warned, slowest = 0, 0, 0.0
        for name, found, seconds in measured(model, given.data):
            is_file, kind = name not in FORMS and name not in LANGUAGES, found.complaint()
            files, warned, slowest = files + is_file, warned + (is_file and kind is not None), max(slowest, seconds)
            if not is_file or kind:
                shares = [found.share(*LOSSES), found.share(*BREAKS), found.share("stripped")]
                print(f"| {name} | {' | '.join(f'{share:.1%}' for share in shares)} | {kind or '–'} |")
        print(f"\n{warned} of {files} files warned of; the slowest look took {1000 * slowest:.0f} ms")


if __name__ == "__main__":
    main()
