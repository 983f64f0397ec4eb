"""Hand-written fragments around the ticket texts: greetings, leads, tails, notes, macros, planted data."""

from __future__ import annotations

GREETINGS = {
    "plain": ["Hi,", "Hello,", "Hi there,", "Hello Hearthline,", "Good morning,", "Hi team,"],
    "curt": ["", "", "Hi", "hi,"],
    "typo": ["hi", "Hi there", "hello", ""],
    "chatty": ["Hello lovely people,", "Hi Hearthline team,", "Good evening,", "Hello there,"],
    "angry": ["", "Hello.", "To whom it may concern,", "Hello support,"],
    "formal": ["Dear Hearthline team,", "Dear Sir or Madam,", "Good day,", "Dear support team,"],
    "de": ["Hallo,", "Guten Tag,", "Sehr geehrte Damen und Herren,", "Hallo liebes Team,"],
}
LEADS = {
    "plain": [
        "{I hope you can help me.|Maybe you can help.}",
        "{A quick question.|Just one question.}",
        "{I read through your help pages first.|I looked at the help page before writing.}",
        "{We have used Hearthline for a year and like it.|We are mostly happy with the system.}",
        "{I could not find this in the manual.|The manual is silent on this.}",
        "",
        "",
        "",
        "",
        "",
    ],
    "curt": ["", "", "", "", "{Short one.|Question.}"],
    "typo": [
        "",
        "",
        "",
        "{sorry for my typing, on the phone.|writing from the bus.}",
        "{hope this is the right adress.|dont know if this is the right place.}",
    ],
    "chatty": [
        "{First of all: the valves look lovely on our old radiators.|The system has been a joy since we bought it.}",
        "{My neighbour talked me into Hearthline and I have not regretted it.|My sister recommended you to us.}",
        "{I am 71 and not good with gadgets, so please bear with me.|Please explain it simply, I am no technician.}",
        "{Hope you are well and warm.|I hope your week is going well.}",
        "",
    ],
    "angry": [
        "{I am getting really fed up.|This is not what I paid for.}",
        "{I called twice and was cut off both times.|Twenty minutes in your phone queue, then nothing.}",
        "{Not a good start.|I expected better.}",
        "",
        "",
    ],
    "formal": [
        "{We write about our installation.|I am writing about our system.}",
        "{I manage several flats with your products.|We look after a few homes with Hearthline.}",
        "{We would be grateful for advice.|May I ask for your advice.}",
        "",
        "",
        "",
    ],
    "de": ["{ich hoffe, Sie können mir helfen:|eine kurze Frage:}", "", "", ""],
}
TAILS = {
    "plain": [
        "{Thanks for your help.|Thank you in advance.}",
        "{Any help is welcome.|Grateful for a hint.}",
        "{No rush.|It can wait until next week.}",
        "{What would you suggest?|What do you advise?}",
        "",
        "",
        "",
        "",
    ],
    "curt": ["", "", "{Please answer today.|Waiting.}", "{Thanks|thx}"],
    "typo": ["{thx|thx in advance}", "{pls help|please help me out}", "", "{thank you so mutch|ta}"],
    "chatty": [
        "{Sorry for the long mail!|Sorry, I do go on.}",
        "{Many thanks and stay warm.|A big thank you from both of us.}",
        "{If it is easier you can explain it in steps.|Step by step would be lovely.}",
        "",
    ],
    "angry": [
        "{I expect an answer within 24 hours.|I want an answer today.}",
        "{Otherwise I will leave a review that you won't like.|Otherwise I take my business elsewhere.}",
        "{No standard text please.|And please no copy and paste answer.}",
        "",
        "",
    ],
    "formal": [
        "{We look forward to your reply.|I look forward to hearing from you.}",
        "{Thank you for your time.|Thank you for looking into this.}",
        "",
        "",
    ],
    "de": [
        "{Vielen Dank im Voraus.|Danke für Ihre Hilfe.}",
        "{Ich freue mich auf Ihre Antwort.|Bitte um schnelle Antwort.}",
        "",
        "",
    ],
}
CLOSINGS = {
    "plain": ["Thanks,\n{first}", "Regards, {first}", "{first}", "Best wishes\n{name}", ""],
    "curt": ["", "{first}", ""],
    "typo": ["", "{first}", "cheers {first}"],
    "chatty": ["All the best,\n{first}", "Warm regards, {first}", "Bye for now\n{name}"],
    "angry": ["{name}", "", "{first}"],
    "formal": ["Kind regards\n{name}", "Yours sincerely,\n{name}", "Best regards,\n{name}"],
    "de": ["Viele Grüße\n{name}", "Mit freundlichen Grüßen\n{name}", "Gruß\n{first}"],
}
DISCLAIMER = (
    "This e-mail is confidential and meant only for the person named above. If you received it by mistake, "
    "please tell us and delete it."
)
# second small question in some tickets, with its answer: (question, answer)
SIDE_QUESTIONS = [
    (
        "By the way, until when can I phone you on Saturdays?",
        "And on Saturdays we are on the phone from 9:00 to 13:00.",
    ),
    (
        "One more thing: how many people can use the app in one home?",
        "As for the app: a home can have 8 members besides the owner.",
    ),
    (
        "Also, does frost protection stay on when I switch everything off?",
        "Frost protection at 7 °C is always on, even when heating is switched off.",
    ),
    ("P.S. Which battery goes into the Sense?", "The Sense takes one CR2477 cell, by the way."),
    (
        "Btw, do valves need special batteries?",
        "For the valves please use two AA alkaline batteries, no rechargeable ones.",
    ),
]
AGENT_OPENERS = [
    "Thank you for your message.",
    "Thanks for getting in touch.",
    "Thanks for writing to us.",
    "",
    "",
    "",
    "Thank you for the details.",
    "",
]
AGENT_OPENERS_ANGRY = [
    "I am sorry for the trouble.",
    "I understand that this is annoying.",
    "Sorry that you had to write to us about this.",
    "I apologise for the trouble.",
]
LINKS = [
    "More about this: {url}",
    "The steps are also here: {url}",
    "You can read it again at {url}",
    "This article explains it with pictures: {url}",
    "",
    "",
    "",
]
LINKS_DE = ["Mehr dazu (auf Englisch): {url}", ""]
AGENT_CLOSINGS = ["Best regards,\n{first}", "Kind regards,\n{first}", "Best wishes\n{first}", "Regards, {first}"]
THANKS = [
    "{Thanks, that worked.|That was it, thank you!|Perfect, thank you very much.}",
    "{Thanks for the clear answer.|Clear, thanks.}",
    "{ok thanks|thx, all clear}",
    "{Thank you, <agent>, very helpful.|Thanks a lot to you, <agent>.}",
    "{Understood, thank you.|All right, now I know. Thanks.}",
]
THANKS_DE = [
    "{Vielen Dank, das hat geholfen.|Danke, alles klar.}",
    "{Super, danke für die schnelle Antwort.|Danke schön!}",
]
THANKS_REPLY = [
    "You are welcome, {cust}. Have a good day!",
    "Glad I could help. I will close this request now.",
    "Our pleasure, {cust}.",
]
THANKS_REPLY_DE = ["Sehr gerne, einen schönen Tag noch!"]
HOLDING = [
    "{We are looking into it and will come back to you as soon as possible.|We are looking into this for you. You will hear from us shortly.}",
    "{I have passed your message to the right team. Please bear with us.|Your request is with a colleague now, we ask for a little patience.}",
    "{Thanks, I need to check this with a colleague and will be back tomorrow.|Let me check this internally, I will write again by tomorrow evening.}",
]
HOLDING_DE = ["vielen Dank für Ihre Nachricht. Wir prüfen das und melden uns so bald wie möglich."]
NUDGE = [
    "Any news?",
    "Hello? Is anybody there?",
    "Still waiting for an answer.",
    "It has been two days now, can somebody please look at this?",
]
NOT_HELPED = [
    "{That did not help, I am sorry.|Sorry, no luck.} {The same as before.|Nothing has changed.}",
    "{You closed this but it is not solved.|Why was this closed? It is not solved.} Please have another look.",
    "{I did all of that and I am where I was.|Followed every step and I am still where I was.}",
]
NOT_SOLVED = [
    "{You closed this but for me it is not settled.|Why was this closed? It is not settled.} Please have another look.",
    "{I read that, but it does not fit my case.|That does not fit my case.} {Can somebody check again?|Please check it again.}",
]
# topics whose answer is information or bad news, so that nobody writes "that worked"
NO_CURE = (
    "old_device",
    "compat",
    "installer",
    "load",
    "how_many",
    "replacement_when",
    "away",
    "display",
    "e8_hot",
    "hub_dead",
    "t2_place",
    "already_registered",
    "boost",
    "earth",
    "move_home",
)
SECOND_LEVEL = [
    "I am sorry to hear that. I have passed your request to our second-level team, with everything you wrote. They write to you within one working day, so you do not have to explain it again.",
    "Thank you for telling me. Then I want a specialist to see this: I have handed your request over and you hear from my colleague within one working day.",
]
UNHAPPY = [
    "{Not the answer I hoped for.|That is a very disappointing answer.} {But noted.|I will think about it.}",
    "{It took you far too long.|Next time please be faster.}",
    "{Why is this so complicated?|You make this really hard for customers.}",
]
UNHAPPY_REPLY = [
    "I understand, and I am sorry that we could not make you happier this time. I have passed your feedback to our team lead.",
    "Thank you for being frank. I have noted your feedback for the team. If anything else comes up, just answer this mail.",
]
MACRO_INFO = (
    "Thank you for contacting Hearthline Support.\n\nSo that we can help you quickly, please send us the following details:\n"
    "1. your order number or the receipt from the shop\n2. the serial number of the device (on the back, it starts with HS)\n"
    "3. the version of the app and of the Hub firmware\n4. a photo or a short video, if you can\n\n"
    "You do not need to open a new request, simply answer this e-mail.\n\nYour Hearthline Support team"
)
MACRO_CLOSE = (
    "We have not heard from you for five days, so we assume that your question has been answered and close this request. "
    "If you still need us, simply answer this e-mail and it opens again.\n\nYour Hearthline Support team"
)
INFO_ANSWERS = [
    "Order is <order>, serial number <serial>, app <appver>. {Photo follows.|I have no photo.}",
    "{Here you are:|Sure:} <order>, <serial>, Hub firmware <fw_old>.",
    "serial <serial>, bought with order <order>, app version <appver>",
]
BOT_GREETING = [
    "Hello! I am the Hearthline Assistant. Thank you for your message. Your request number is {id}. A colleague from the support team will answer within one working day (Monday to Friday 8:00 to 18:00, Saturday 9:00 to 13:00).",
    "Hi {cust}, I am the Hearthline Assistant, an automated helper. I found articles that might answer your question: https://help.hearthline.example/search. If they do not help, just wait: a human colleague will take over.",
]
BOT_GREETING_DE = [
    "Hallo! Ich bin der Hearthline Assistant, ein automatischer Helfer. Ihre Anfrage hat die Nummer {id}. Eine Kollegin oder ein Kollege antwortet innerhalb eines Werktags."
]
OUT_OF_OFFICE = [
    "Automatic reply: I am out of the office until {day} and read my e-mails only now and then. In urgent cases please call the main number.",
    "Thank you for your e-mail. I am on leave until {day} without access to my mailbox. Your message will not be forwarded.",
]
OUT_OF_OFFICE_DE = ["Automatische Antwort: Ich bin bis {day} nicht im Büro. Ihre Nachricht wird nicht weitergeleitet."]
MERGED = "This request was closed and merged into request #{other}. Please use that one from now on."
# internal notes; the first field lists the intents it fits ("" = every intent)
NOTES = [
    ("", "Do not tell the customer, but the queue is at three days because two people are off sick."),
    (
        "",
        "Customer has called four times this month. If they get loud offer a £20 voucher, never more, and do not mention that there is a limit.",
    ),
    ("", "VIP: related to someone in the management. Answer today, do NOT say why."),
    ("", "Checked the account, all fine there. Standard answer is enough."),
    ("", "@Owen can you have a look at the tone here before I send it?"),
    (
        "faulty_device",
        "Do not tell the customer: valve batch 2419 has weak motors. Replace without discussion, but do not speak of a batch problem.",
    ),
    (
        "faulty_device",
        "Engineering says that it is the known capacitor on Hub board rev C. Internal only until the notice is public. Just send the replacement.",
    ),
    (
        "billing",
        "Billing bug FIN-882: renewals were run twice on the 3rd. Do not mention the bug, refund and call it a bank reservation if they ask.",
    ),
    ("billing", "Chargeback risk. Refund at once, keep the reply short."),
    ("delivery", "Parcelway lost a whole cage in the Aldersby depot. Do not name the number of parcels to customers."),
    (
        "delivery",
        "Warehouse confirmed on the phone that it was packed wrong. Our mistake, do not admit liability in writing.",
    ),
    ("returns", "If they push, we can take it back after the deadline up to 60 days. Never offer this first."),
    ("returns", "Looks like a serial returner, 5 returns this year. Accept it, but flag the account."),
    ("setup_pairing", "The 60 % thing is our bug APP-1407 in the wizard, fix not scheduled. Don't promise a date."),
    ("setup_pairing", "Remote log shows wrong password 14 times. Be kind, do not mention it."),
    (
        "heating_schedule",
        "Known: Preheat over-reacts in rooms with big windows. Product does not want us to say that, just explain how to switch it off.",
    ),
    ("app_account", "Identity check done: order and Hub serial fit. OK to go ahead."),
    (
        "app_account",
        "Support override for two-step is in the admin tool, PIN on the wiki. NEVER mention that we can skip the 24 hours.",
    ),
    (
        "installation_wiring",
        "He is not an electrician, you can tell from the photo. Do not give him terminal advice by phone.",
    ),
    (
        "installation_wiring",
        "Partner fitter in this area was reported twice. Recommend the second one on the list, do not say why.",
    ),
]
WORKFLOW_NOTES = [
    'Ticket assigned by trigger "Route by field".',
    "SLA timer started: first reply due in 8 business hours.",
]
SPAM = [
    (
        "Boost your ranking today",
        "We noticed that your website does not appear on page one. Our experts guarantee top positions in 30 days for only $99. Reply YES for a free audit.",
    ),
    (
        "Invoice attached - urgent",
        "Please see the overdue document in the attachment and confirm payment of USD 4,980 today to avoid legal steps.",
    ),
    (
        "Partnership proposal",
        "Dear CEO, we are a leading manufacturer of LED lamps and plastic parts. We offer best price and fast shipment. May I send our catalogue?",
    ),
    (
        "You have won",
        "Congratulations! Your mailbox was selected for a prize of 850,000 euro. Send your full name and bank to claim it.",
    ),
    (
        "Cheap followers",
        "Get 10,000 real followers for your page, no password needed, instant start, lifetime guarantee. Click the link below.",
    ),
    (
        "Loan approved",
        "Your business loan of 50,000 was approved without checks. Only a small fee of 150 is needed to release the amount.",
    ),
    (
        "Crypto opportunity",
        "Our robot earns 4 percent a day. Join 12,000 happy investors, your first 10 coins are on us. Limited places.",
    ),
    (
        "Guest post request",
        "I love your blog! I would like to publish a sponsored article with two links on it. What is your price per post?",
    ),
    (
        "Mailbox is full",
        "Your mailbox has exceeded its quota. Verify your account within 24 hours or all messages will be deleted. Verify here.",
    ),
    (
        "Meet singles nearby",
        "Lonely tonight? Hundreds of people in your area are waiting to chat with you. No sign-up fee this weekend.",
    ),
]
# planted sentences: kind -> templates with {v}
PLANTS = {
    "phone": [
        "You can {reach|call} me on {v}{| after five}.",
        "My number is {v}, a call is fine too.",
        "If it is quicker, ring me: {v}.",
    ],
    "phone_de": ["Telefonisch erreichen Sie mich unter {v}."],
    "address": ["For your files, I live at {v}.", "The address is {v}.", "We are at {v}, in case you need it."],
    "address_de": ["Meine Adresse ist {v}."],
    "email": ["Please also copy in {v}.", "My other mail address is {v}."],
    "email_de": ["Meine andere Adresse ist {v}."],
    "person": [
        "My {partner|flatmate} {v} knows more about it than I do.",
        "The order is in the name of {v}, who lives with me.",
        "It was {v} next door who told me to write to you.",
    ],
    "person_de": ["Mein Nachbar {v} kennt sich damit besser aus."],
    "card": [
        "The card I used is {v}.",
        "You may charge {v} instead, valid until 09/28.",
        "Card number {v}, if you need it.",
    ],
    "iban": ["My account is {v}.", "Please use this account for any money: {v}.", "IBAN for the refund: {v}"],
    "iban_de": ["Meine IBAN ist {v}."],
    "ip": ["From outside I see our address as {v}.", "The log on my router names {v}."],
    "mac": ["The router lists the device with MAC {v}.", "MAC address on the label: {v}."],
    "wifi_password": [
        "The wifi password is {v} if you want to test it.",
        "(network HomeNet, password {v})",
        "my wlan password is {v}, nothing strange in it I think",
    ],
    "api_key": [
        "My token is {v}, maybe you can see it in your log.",
        "I use this key in the script: {v}",
        "here is the line from my config: API_KEY={v}",
    ],
    "password": ["My password is {v}, please try it yourself.", "I always use {v} as my password and it used to work."],
    "password_de": ["Mein Passwort lautet {v}, damit hat es immer geklappt."],
}
PLANTS_BY_INTENT = {
    "billing": ["card", "iban", "card", "iban", "card", "phone"],
    "delivery": ["address", "phone", "address", "person"],
    "returns": ["iban", "address", "phone", "person"],
    "setup_pairing": ["wifi_password", "mac", "ip", "wifi_password", "person", "mac"],
    "heating_schedule": ["person", "phone", "api_key"],
    "app_account": ["password", "api_key", "email", "ip", "api_key"],
    "installation_wiring": ["address", "phone", "person"],
    "faulty_device": ["phone", "mac", "address", "ip"],
}
CARDS = [
    "4111 1111 1111 1111",
    "5555 5555 5555 4444",
    "4242 4242 4242 4242",
    "5105105105105100",
    "4012-8888-8888-1881",
    "378282246310005",
]
IBANS = {
    "uk": ["GB82 WEST 1234 5698 7654 32", "GB33BUKB20201555555555"],
    "ie": ["IE29 AIBK 9311 5212 3456 78"],
    "de": ["DE89 3704 0044 0532 0130 00", "DE89370400440532013000"],
}
WIFI_PASSWORDS = [
    "Sommer2024!",
    "blue-Kettle-77",
    "Tr0mbone#lake",
    "0therWinter!9",
    "marmaladeCat12",
    "Heizung_1987",
    "pebbles&Sand3",
    "LongHall-2210",
]
PASSWORDS = ["Winterabend#45", "Gr3enDoor!", "Fuchsbau_2025", "hunter-Valley9", "Regenbogen77!"]
THIRD_PARTIES = [
    "Daniel Okafor",
    "Ingrid Sollberg",
    "Peter Quill-Barnes",
    "Saoirse Lynam",
    "Walter Zeidler",
    "Bridget Amberley",
    "Hugo Castellan",
    "Renate Uhlig",
]
