"""Which words are no names, and which are names and words.

Question: how to know that a forum handle `mail` or a surname `Page` is also a word, without a dictionary to download?
Choice: this list: names that are words, the words of help desks, vendors and products that occur as account names, and the
commonest words of six languages. Price: a name that is an ordinary word is masked only where somebody is addressed or signs,
and a trade's own words are names until the recipe's privacy.keep_words says otherwise. Revisit if a list with a licence that
fits covers more.
"""

from __future__ import annotations

# Never a name: what accounts are called, whom letters are addressed to, products that everybody writes about.
NOT_A_NAME = frozenset(
    "admin administrator agent anonymous assistant bot boss company contact customer client customers dear desk docs email"
    " everybody everyone guest guys helpdesk hello hi info mail manager member moderator mr mrs ms none noreply no-reply null"
    " office operator operations owner people postmaster reply robot root sales service services staff support system team"
    " teams tech test tester thanks user users unknown visitor web webmaster you me all"
    " january february march april may june july august september october november december monday tuesday wednesday thursday"
    " friday saturday sunday montag dienstag mittwoch donnerstag freitag samstag sonntag"
    " android apple chrome edge excel exchange facebook firefox gmail google hotmail imap internet ios iphone ipad itunes java"
    " jira kunde kundin kundenservice linux mac macos microsoft mozilla office365 onedrive outlook paypal pop pop3 safari skype smtp"
    " teams thunderbird twitter ubuntu whatsapp wifi windows word yahoo youtube zendesk zoom amazon adobe intel nvidia github gitlab"
    " docker python sap oracle salesforce cisco dell lenovo samsung sony canon epson brother hp ibm aol gmx web.de icloud norton"
    " avast bitdefender kaspersky mcafee comcast xfinity verizon".split()
)

# Names that are words too: masked only where a person is addressed or signs.
ALSO_A_WORD = frozenset(
    "ace amber angel art ash august autumn bay baker bank bell bill bird bishop black blue bond bridge brook brown buck bush butler carpenter"
    " case cash chance chase chip church clay cliff coast cole cook coral crystal daisy dawn day dean destiny dick drew duke earl early"
    " eve faith field finch fisher ford forest fox frank gale gene ginger glass glen gold good grace grant gray green grey guy hall hand"
    " harp hawk hazel head heart heath heather hill holiday holly home hope hunt hunter ice iris iron ivory ivy jack jade jasmine jay jean"
    " jet job joy juan jewel justice keen king knight lake lance land lane large lark law leaf lee lily little long lord lot love low luck"
    " mace major mark marks marsh mason max may means melody mercy merit miles mill mint moon moore more moss my noble north nova oak olive"
    " opal order page park parker pat patience pearl penny pepper piper place pole pond pope porter post potter power price prince quick rain"
    " raven ray read reed rich ridge ring rip rivers rob robin rock rod rose ruby rush rusty sage sally sandy savage saw scout sea season self"
    " setter shade sharp shaw shell short silver simple skip sky small smart snow sparks spear spring star steel sterling stone storm strong"
    " sue summer sun sweet swift tab tailor temple thorn tiger tin tiny tower town trace tree trip true turner valley van vent victor violet"
    " wade walker wall ward warden waters way web weaver well west white wild will willow wind winter wise wolf wood woods work worth wren"
    " young klein lang gross groß kurz jung alt neu schnell fest sommer herbst stein wald stern engel kaiser petit grand blanc leon paz costa"
    " bella rosa luz".split()
)

# Names of three letters that are no words: masked in lower case too; another three letters are rather `ssl` or `tab`.
SHORT_NAMES = frozenset(
    "abe ada amy ana ann ava bea ben bob dan deb eli eva fay gus ian ida ike ira ivo jan jeb jed jen jim joe jon"
    " kat kay ken kim leo lia liv liz lou luc lyn mae mei mel mia mya ned nia pam pia raj ria roy rui sam sid syd"
    " ted tia tim tom uli ute uwe vic wes yan zac zoe".split()
)

# The commonest words of six languages and of support desks: handles and short names collide with them.
COMMON = frozenset(
    "a about above access account accounts across action actually add added address addresses after again against ago air alert"
    " almost alone along already also although always am among an another answer any anyone anything app apps archive are area around"
    " as ask asked at attach attachment attachments auto away back backup bad base be because been before being below best better between"
    " big bit board body book both bottom box break browser bug build business but button buy by calendar call called came can cannot"
    " card care cat center change changed changes chat check checked choose class clean clear click clock close closed cloud club code"
    " color come comes common community complete computer computers connect connection contacts control copy correct could country course"
    " create created current custom cut daily dark data database date dating days dead deal default delete deleted design desktop detail"
    " device did different digital direct disk display do doctor does dog domain done door down download draft drive driver drop due during"
    " each earth easy edit editor either else empty end energy engineer enough enter error errors even event ever every everything exact"
    " example expert export extra eye face fact family fan far fast fat feature few file files fill filter filters find fine fire first fish"
    " fix fixed flash folder folders follow food for force forget form format forum forward found four free fresh friend friends from full"
    " fun function further game games garden gas gave general get getting give given glad global go god going gone got great group groups"
    " had half happen happy hard has have having he health hear heavy held help helpful her here hers herself hey high him himself his history"
    " hobby hold hot hour hours how however human i idea if image images import important in inbox index indeed inside instead into is issue"
    " issues it item its itself just keep key keys kind know known lab language last late later latest law learn least leave left legal less"
    " let letter level life like line link links list lists live load local location log login logo look looking lost lots lower machine made"
    " main make making man many map market master match math matter maybe mean media media medical menu merge message messages middle might"
    " mind mine minor minute minutes mobile mode model moment money month months mother mouse move moved movie much music must name names near"
    " need needed net network never new news newsletter next nice nick nine no nobody not note notes nothing now number numbers of off offer"
    " offline often oh ok okay old on once one ones online only open opened option options or original other others our out over own pack"
    " page panel paper part party password passwords past path pay pc per perfect person phone photo pick picture pictures piece plain plan"
    " plane platform play please plus point policy popup port possible present press pretty preview previous print printer private pro"
    " probably problem problems process product profile profiles program project proper public pull push put question questions quickly quit"
    " quite radio random rate re reach ready real really reason received recent recovery red remote remove repair repeat report request reset"
    " rest restore result return review right room rule rules run running safe said same save saved screen script search second secret"
    " section secure security see seems seen select send sent server servers set setting settings setup seven several shall share she shop"
    " should show side sign signal similar simply since single site sites six size skip sleep slow so social soft software solution solved"
    " some someone something son soon sorry sort sound source space spam special speed spell split sport start started state status stay step"
    " still stop storage store story studio stuff style subject such sure surfer switch sync table tablet take taken talk task team tell ten"
    " term text than that their them theme themselves then there these they thing things think third this those though thought thread three"
    " through time times title to today together told tomorrow too took tool tools top total touch toward trash travel tried truck trust try"
    " trying turn two type under understand undo unless until up update updated updates upgrade upon us use used useful using usual value"
    " various version very video view virus visit voice vote wait walk want wants was wash watch water we website week weeks welcome went were"
    " what whatever when where whether which while who whole whom whose why wide window wine wish with within without wonder words working"
    " world would write writer wrong year years yes yesterday yet your yours yourself zero zone"
    " aber als am an auch auf aus bei bin bis bitte da dann das dass dem den der des die dies doch du durch ein eine einem einen einer eines"
    " er es für gegen geht gut habe haben hallo hat hier ich ihr ihre im immer in ist ja jetzt kann kein keine können konto mehr mein meine"
    " mich mit muss nach nicht noch nur ob oder ohne postfach schon sehr sein seit sich sie sind so über um und uns unter vom von vor war"
    " warum was weil wenn wer werden wie wieder wir wird wo wurde zu zum zur danke gruß grüße"
    " à au aussi avec avoir bonjour bien ce cela ces cette comme compte courrier dans de des du elle en est et être fait il ils j je la le les"
    " leur lui ma mais merci mes mon ne nous on ont ou où par pas plus pour que qui sa sans se ses si son sont sur tout très tu un une vous"
    " ahora al algo aquí así bien buenas buenos cada como con correo cuando cuenta del desde donde el ella en entre era es esta estar este esto"
    " gracias hace hasta hay hola la las le lo los más me mi mucho muy nada ni no nos o para pero por porque puede que quiero se ser si sin"
    " sobre solo son su sus también te tengo tiene todo tu un una y ya yo"
    " alla anche ancora buongiorno che chi ciao come con cosa cui da dai dal dalla dei del della di dove due e era essere fare fatto gli grazie"
    " ho hanno il in io lei lo loro ma mai messaggi mi mio molto nel nella non ora per perché più poi posta prima può quando quello questa"
    " questo sempre senza si sia solo sono sta su tutti tutto un uno va vi"
    " aan al als bij dan dat de deze die dit doen door een en er ga geen graag had heb hebben heeft het hij hoe hoi ik is je kan kunnen maar"
    " meer met mij mijn moet na naar niet nog nu of om onder ook op over te toch tot uit van veel voor waar want wat we wel werkt wie wil worden"
    " wordt zal zijn zo zonder".split()
)
