"""The tables of the sample data set's grammar.

Syntax: `[a|b]` draws one alternative (it may nest), `@` draws a digit, `{SLOT}` draws a filler.
"""

# A slot is named after its entity type, unless grammar needs two kinds of one type:
# "on {DATE}" but "{WHEN}" alone, "in {PLACE}" but "at {STREET}".
ENTITY_OF_SLOT = {"WHEN": "DATE", "STREET": "PLACE"}
TRAIN_TEMPLATES = {
    "track_order": [
        "Where is my [{PRODUCT}|parcel|package] [right now|at the moment]?",
        "Can you [tell me|check] where order {ORDER} is?",
        "I'd like to [track|follow] [order {ORDER}|the {PRODUCT} I bought {WHEN}].",
        "Has the [parcel|package] for {PERSON} [left {PLACE}|been shipped] yet?",
        "What is the [current |]status of [my order|order {ORDER}|the order from {DATE}]?",
        "The tracking page [is empty|shows nothing]. Is my {PRODUCT} on its way?",
        "I ordered 2 items {WHEN} and only see one in the tracking. Where is the {PRODUCT}?",
        "Do you have a tracking [number|link] for [my parcel|the {PRODUCT}]?",
    ],
    "delivery_delay": [
        "My {PRODUCT} is late, it was [due|promised|expected] on {DATE}.",
        "Order {ORDER} should have been [here|delivered] on {DATE} and nothing has [come|arrived].",
        "Why is my delivery [taking so long|so late]? I ordered {WHEN}.",
        "I'm still waiting for the {PRODUCT} [I bought|{PERSON} ordered] {WHEN}, this delay is too long.",
        "The [parcel|package] has been stuck in {PLACE} since {DATE}.",
        "You promised next-day delivery, but my order is [still not here|late again].",
        "Nobody came to {STREET} on {DATE}, so the delivery is overdue.",
        "Delivery to {PLACE} was [delayed|moved] 3 times already. What is going on?",
    ],
    "cancel_order": [
        "[Please cancel|I want to cancel|Please stop] order {ORDER}.",
        "I'd like to cancel the {PRODUCT} [I ordered {WHEN}|in order {ORDER}], please.",
        "I ordered the wrong {PRODUCT}. Please cancel it before it ships.",
        "Can I still cancel [my order|an order placed {WHEN}]?",
        "I changed my mind about the {PRODUCT}, [please cancel|I don't want it any more].",
        "My colleague {PERSON} ordered the same {PRODUCT}, so please cancel mine.",
        "Cancel my order to {PLACE}, I found it for {AMOUNT} [elsewhere|in another shop].",
        "Ordered 2 by mistake, please cancel one of them.",
    ],
    "refund": [
        "I want a refund for [my {PRODUCT}|order {ORDER}].",
        "I sent the {PRODUCT} back {WHEN}. When do I get my [money|refund]?",
        "Please refund the {AMOUNT} I paid [for order {ORDER}|on {DATE}].",
        "The refund of {AMOUNT} has not [arrived|reached my account] yet.",
        "How long does a refund [take|usually take]?",
        "I returned 2 shirts to your shop in {PLACE} and was only refunded for one.",
        "{PERSON} promised me my money back {WHEN}, but I got nothing.",
        "The {PRODUCT} is too [big|heavy], can I [return it|get my money back]?",
    ],
    "damaged_item": [
        "My {PRODUCT} arrived [broken|damaged|cracked|with a crack].",
        "The box [was crushed|was torn open] and the {PRODUCT} is [broken|scratched].",
        "The {PRODUCT} [from order {ORDER}|you delivered {WHEN}] [is broken|fell apart].",
        "Please replace my {PRODUCT}, it came with a [broken corner|missing part|dent].",
        "2 of the 6 glasses in order {ORDER} were broken.",
        "The courier dropped the parcel at {STREET} and the {PRODUCT} is damaged.",
        "I paid {AMOUNT} for a {PRODUCT} and it is [damaged|faulty]. I need a new one.",
        "Everything in the parcel was [broken|damaged|soaking wet].",
    ],
    "change_address": [
        "Please change the [delivery|shipping] address to {STREET}.",
        "I moved to {PLACE} {WHEN}, how do I change my address?",
        "Can you [send|deliver] order {ORDER} to {STREET} instead?",
        "I entered the wrong [address|house number|postcode] for [my order|order {ORDER}].",
        "I live at {STREET}, {PLACE} now, [not at my old address|please change it].",
        "Please deliver the {PRODUCT} to my office in {PLACE}, not to my home address.",
        "I need to update the address [in my account|on order {ORDER}] before {DATE}.",
        "{PERSON} will take the parcel, so please change the address to {STREET}.",
    ],
    "payment_failed": [
        "My payment [failed|was declined|did not go through].",
        "I tried to pay {AMOUNT} for the {PRODUCT} and my card was declined.",
        "The payment for order {ORDER} keeps failing with error 502.",
        "Why was my [credit card|bank transfer] [rejected|refused] [{WHEN}|at the checkout]?",
        "I tried 3 times but the payment page [just freezes|shows an error].",
        "The checkout won't accept [my card|my Visa card|the card of {PERSON}].",
        "My bank in {PLACE} says the payment was fine, but you say it failed.",
        "I can't pay for the {PRODUCT}, the [payment|card] form gives an error.",
    ],
    "invoice_copy": [
        "[Please send me|I need] a copy of the [invoice|bill] for order {ORDER}.",
        "I need an invoice for the {PRODUCT} I bought {WHEN}.",
        "Where can I download [my invoice|my invoices|the invoice as a PDF]?",
        "I lost the [receipt|bill] for my {PRODUCT}, can you [send|email] it again?",
        "Please put the name {PERSON} on the invoice [for order {ORDER}|from {DATE}].",
        "Our accountant needs [the invoice|a VAT invoice] over {AMOUNT}.",
        "The invoice in my mailbox is only 1 page and page 2 is missing. Please send it again.",
        "Can you mail a printed invoice to {STREET}?",
    ],
    "reset_password": [
        "I forgot my password, [what can I do|how can I reset it]?",
        "I [can't|haven't been able to] [log in to|get into|sign in to] my account since {DATE}.",
        "The [password reset|login] [mail|link|code] [never arrives|does not work].",
        "How do I [change|reset] my password?",
        "My account was locked after 5 wrong passwords.",
        "I want to see order {ORDER}, but my password is [wrong|not accepted].",
        "Please reset the password for the account of {PERSON}.",
        "I reset my password {WHEN} and now I can't log in to buy the {PRODUCT}.",
    ],
    "talk_to_human": [
        "I want to [talk|speak] to a [human|real person|manager], not a bot.",
        "[Please connect me|Can you put me through] to an agent.",
        "Can someone [call|phone] me [on {DATE}|about order {ORDER}]?",
        "I'd like to speak with {PERSON} from your support team.",
        "I waited 40 minutes on the phone. Is there [an agent|anyone] I can talk to?",
        "Is there a [phone number|hotline] for your [shop|team] in {PLACE}?",
        "I have a question about the {PRODUCT} and need to [speak to|discuss it with] [someone|your staff].",
        "I talked to {PERSON} {WHEN}, please connect me again.",
    ],
}

VALIDATION_TEMPLATES = {
    "track_order": [
        "Could you look up how far order {ORDER} has got?",
        "I can't find my parcel in the app. Where has it gone?",
        "My cousin {PERSON} wants to know where the {PRODUCT} is [now|today].",
    ],
    "delivery_delay": [
        "It was meant to be here by {DATE}, and I'm still waiting.",
        "How much longer will order {ORDER} take? It's already late.",
        "The driver called {PERSON} {WHEN}, but my {PRODUCT} never came.",
    ],
    "cancel_order": [
        "I no longer need the {PRODUCT} I ordered {WHEN}.",
        "Is it too late to withdraw order {ORDER}?",
        "I pressed the order button twice, [remove|cancel] the second one.",
    ],
    "refund": [
        "When will the {AMOUNT} be back [on my card|in my account]?",
        "You got my return {WHEN}, so where is the money?",
        "I was charged {AMOUNT} twice, please return the second payment.",
    ],
    "damaged_item": [
        "There is a [big scratch|crack] on the {PRODUCT} I got {WHEN}.",
        "I unpacked order {ORDER} and found 3 broken parts.",
        "It stopped working after 10 minutes. Can I get a replacement?",
    ],
    "change_address": [
        "I don't live in {PLACE} any more, please send it to {STREET}.",
        "The street name on order {ORDER} is [wrong|misspelled].",
        "We are moving on {DATE}. Where do I enter the new address?",
    ],
    "payment_failed": [
        "I can't finish my order, the card is refused every time.",
        "The bank took {AMOUNT}, yet the checkout says [unpaid|payment error].",
        "Transaction refused for order {ORDER}, what can I do?",
    ],
    "invoice_copy": [
        "Could I get the bill for the {PRODUCT} by mail?",
        "My boss {PERSON} needs a receipt for the {AMOUNT} we spent {WHEN}.",
        "I need the paperwork with the VAT number on it.",
    ],
    "reset_password": [
        "I don't remember what I use to log in.",
        "I've been locked out of my account [since {DATE}|again].",
        "{PERSON} knew our password and left the company, [can we get|please send] a new one.",
    ],
    "talk_to_human": [
        "Your bot does not understand me. Give me an agent.",
        "Who can I speak to in the {PLACE} office?",
        "I wrote 4 messages {WHEN} and only got automatic answers. I need a person.",
    ],
}

TEST_TEMPLATES = {
    "track_order": [
        "Any news on [where order {ORDER} is|the route of order {ORDER}]?",
        "Did you already ship the {PRODUCT} that {PERSON} bought {WHEN}?",
        "Which depot is my package in [now|at the moment], is it {PLACE}?",
        "Can I follow the van with my {PRODUCT} on a map?",
        "Number {ORDER} was shipped {WHEN}. [How far away|Where] is it?",
    ],
    "delivery_delay": [
        "Now {DATE} has come and gone, and I'm still waiting for the {PRODUCT}.",
        "This is [really slow|taking forever], I paid {AMOUNT} extra for express delivery.",
        "I've been waiting for a package at {STREET} since {DATE}.",
        "According to {PERSON} delivery takes 2 days. It has been much longer.",
        "Shipping to {PLACE} is behind schedule, when will you finally bring my {PRODUCT}?",
    ],
    "cancel_order": [
        "Stop order {ORDER}, I don't want it any more.",
        "I shouldn't have ordered that {PRODUCT} {WHEN}. Can you [undo|cancel] it?",
        "Is there still time to [call off|cancel] the shipment to {PLACE}?",
        "Please drop the {PRODUCT} from my order of 4 items, it has not shipped yet.",
        "{PERSON} gave me a {PRODUCT} on {DATE}, so there's no need to ship mine.",
    ],
    "refund": [
        "You still owe me {AMOUNT} for the {PRODUCT} I returned.",
        "I'd like my money back, the {PRODUCT} is [not what I expected|too small].",
        "The return reached {PLACE} {WHEN}, but I got no money from you.",
        "Will I be reimbursed for number {ORDER}, and by when?",
        "{PERSON} said I'd get {AMOUNT} back by {DATE}.",
    ],
    "damaged_item": [
        "The front of my {PRODUCT} is [shattered|cracked].",
        "I just opened the box from {PLACE} and one part is snapped off.",
        "Can I swap the {PRODUCT} for one that actually turns on?",
        "Half of order {ORDER} was smashed in the post, please [replace it|send it again].",
        "{PERSON} handed me a {PRODUCT} {WHEN} with 2 dents in the side.",
    ],
    "change_address": [
        "From {DATE} on I'll be living at {STREET}.",
        "Could the driver deliver the {PRODUCT} to {STREET} rather than {PLACE}?",
        "You still have my old address on file, I left {PLACE} {WHEN}.",
        "I made a typo in the postcode, it ends in 7 and not in 1.",
        "Redirect {ORDER} to my colleague, {PERSON}, in {PLACE}.",
    ],
    "payment_failed": [
        "Your site refuses [my Mastercard|my credit card], although there is enough money on it.",
        "I keep getting error 3021 when I try to buy the {PRODUCT}.",
        "The transfer of {AMOUNT} bounced {WHEN}, how else can I pay for order {ORDER}?",
        "{PERSON} can't check out, the card form turns red.",
        "Nothing happens when I press the Pay button [on|at the bottom of] the page.",
    ],
    "invoice_copy": [
        "I need proof of purchase for my {PRODUCT}.",
        "Could you email the [bill|invoice] dated {DATE} to {PERSON}?",
        "For my tax return I need a [document|bill] that shows the {AMOUNT}.",
        "Your statement for {ORDER} names the wrong company, please issue a new one.",
        "How do I get [paperwork|a receipt] for something I bought in {PLACE} {WHEN}?",
    ],
    "reset_password": [
        "It says my [password is|login details are] wrong, but I haven't changed anything.",
        "The SMS code I need to sign in never [reaches me|arrives] in {PLACE}.",
        "I need a new login for my account, {PERSON} set up the old one {WHEN}.",
        "Signing in has been impossible since {DATE}, I even tried 6 different passwords.",
        "How can I get back into my account to order the {PRODUCT}?",
    ],
    "talk_to_human": [
        "Is anybody there? These canned replies about my {PRODUCT} don't help.",
        "Let me discuss order {ORDER} with your manager.",
        "Have {PERSON} [phone|call] me on {DATE}.",
        "I'd rather [explain this|talk] to [a member of staff|an employee] than type it 10 times.",
        "What are the opening hours of your hotline in {PLACE}?",
    ],
}

TEMPLATES = {"train": TRAIN_TEMPLATES, "validation": VALIDATION_TEMPLATES, "test": TEST_TEMPLATES}
INTENTS = tuple(TRAIN_TEMPLATES)

# No product starts with a vowel and none is plural, so that "a {PRODUCT} is" is always right.
FILLERS = {
    "train": {
        "PERSON": (
            "[||||Ms |Mr ][Maria|Tom|Fatima|Jonas|Grace|Wei|Lucas|Priya|Helen|Omar|Anna|Mateo|Keiko|Paul|Leila|Sven|"
            "Amara|Julia|Diego|Hanna|Viktor|Zoe|Rahul|Clara][|| Lopez| Baker| Haddad| Chen| Novak| Okoro| Rossi|"
            " Lindqvist| Gupta| Meyer| Tanaka| Dubois| Walsh| van Dijk| Santos| Petrov| Ahmed| Moreau]"
        ),
        "PRODUCT": (
            "[||Norvik |Tarnby |Brellow |Hesta @0 |Lumio Plus |Ostera ][kettle|desk lamp|toaster|suitcase|"
            "keyboard|blender|clock|office chair|backpack|heater|printer|rice cooker|speaker|vacuum cleaner|"
            "mouse|bicycle pump|radio|tent]"
        ),
        "ORDER": "[#@@@@@|ORD-@@@@@|@@@@@@@|@@-@@@@@|A@@@@|#C@@-@@|@@@@/@@]",
        "DATE": (
            "[Monday|Friday|Saturday|[2|9|14|23] [January|March|June|Oct]|[May|April|February] [6|18|27]|"
            "the [3rd|11th|20th]|the [1st|22nd] of [May|March]|@/@]"
        ),
        "WHEN": (
            "[yesterday|this morning|[a week|two weeks|three days|four days|a month] ago|last [week|Monday|Friday|"
            "March]|the other day]"
        ),
        "AMOUNT": "[$@@.@@|$@@@|@@ dollars|@@.@@ euros|€@@|CHF @@|[ten|forty] dollars|@@@ rupees|£@]",
        "PLACE": (
            "[Leeds|Boston|Toronto|Dublin|Hamburg|Madrid|Chicago|Oslo|Nairobi|New York|Bristol|Vienna|Sao Paulo|"
            "Munich|Athens|Kyoto|San Jose|Cairo|Rotterdam|Perth|Krakow|Salt Lake City]"
        ),
        "STREET": "[|Unit @, ]@@ [Mill|Station|Church|Garden|Queen|Castle|Maple] [Street|Road|Square|Way]",
    },
    "validation": {
        "PERSON": "[Nadia|Peter|Chloe|Samuel|Ingrid|Ravi][| Costa| Fischer| Mwangi| Park]",
        "PRODUCT": "[|Kordell |Wavelo ][coffee grinder|projector|monitor|hair dryer|bookshelf|microwave]",
        "ORDER": "[W@@@@@@|@@@@-@@@@|#@@-@@@]",
        "DATE": "[Tuesday|[5|16|24] July|August [2|10|19]|the 1[3|6|8]th of [July|August]]",
        "WHEN": "[last [Tuesday|night]|nine days ago|three weeks ago]",
        "AMOUNT": "[@@@ dollars|€@@.@@|@@ francs|$1,@@@]",
        "PLACE": "[Lisbon|Seattle|Cardiff|Prague|Lagos|Montreal|San Diego]",
        "STREET": "[@@|@@@] [Harbour|Victoria|Willow] [Lane|Avenue]",
    },
    "test": {
        "PERSON": "[||||Dr ][Aisha|Daniel|Yuki|Elena|Marcus|Sofie|Nora|Tariq][| Silva| Kim| Reid| de Vries]",
        "PRODUCT": "[|[Pellano|Duskin] [|Pro ]|Gravio @00 ][headset|coffee machine|tablet|camera|phone]",
        "ORDER": "[KX@@@@@|@@@-@@@@@@|20@@/@@@@|#B@@@@]",
        "DATE": "[Thursday|Sunday|[7|17|30] [Sept|Nov]|the [4th|21st] of October|December [5|13]|@/1[0|2]]",
        "WHEN": "[the day before yesterday|last [month|weekend|Thursday]|[ten days|five weeks] ago]",
        "AMOUNT": "[£@@.@@|@@ pounds|USD @@|[twenty|thirty|sixty] euros|€@@,@@|@@@ kroner]",
        "PLACE": "[Glasgow|Denver|Lyon|Warsaw|Auckland|Mumbai|Cape Town|Porto|Helsinki|Los Angeles|Ghent]",
        "STREET": "[Flat @, |]@@ [Orchard|Chapel|Beech|Park] [Close|Drive|Hill|Terrace]",
    },
}

OPENERS = "[||||Hi, |Hello, |Hi there, |Hello there, |Good morning, |Dear team, |Hey, |Sorry to bother you, ]"
CLOSERS = ["", "", "", " Thanks!", " Thank you in advance.", " Please help.", " Can you help?"]
SIGNATURES = [" Thanks, {PERSON}", " Kind regards, {PERSON}", " Best wishes, {PERSON}"]
POLITE = ("please", "help")
"""A body with the first asks already, so that no closer with the second follows."""
SHORTHAND = {"please": "pls", "Please": "Pls", "because": "bc", "Thanks!": "thx!", "and": "&"}
