-- A job database as version 0.1.0 left it when it was killed: schema 1. Never change it.
BEGIN TRANSACTION;
CREATE TABLE events (                           -- state events; progress and previews are not kept
        job_id TEXT NOT NULL REFERENCES jobs (job_id) ON DELETE CASCADE,
        number INTEGER NOT NULL,
        body TEXT NOT NULL,                         -- JSON of JobEvent
        PRIMARY KEY (job_id, number)
    ) STRICT, WITHOUT ROWID;
INSERT INTO "events" VALUES('08372fc892c3406097771dd316bea521',1,'{"number":1,"time":1795387156.0588987,"state":"queued","progress":null,"preview":null,"preview_header":null,"failure":null,"queue_position":0}');
INSERT INTO "events" VALUES('08372fc892c3406097771dd316bea521',2,'{"number":2,"time":1795387156.4152915,"state":"running","progress":null,"preview":null,"preview_header":null,"failure":null,"queue_position":0}');
INSERT INTO "events" VALUES('08372fc892c3406097771dd316bea521',11,'{"number":11,"time":1795387156.4405208,"state":"succeeded","progress":null,"preview":null,"preview_header":null,"failure":null,"queue_position":0}');
INSERT INTO "events" VALUES('3835c05f1a664206a221d10a12fe7665',1,'{"number":1,"time":1795387156.4564433,"state":"queued","progress":null,"preview":null,"preview_header":null,"failure":null,"queue_position":1}');
INSERT INTO "events" VALUES('383dd8b0c5fd4e5b953a792539a2af32',1,'{"number":1,"time":1795387156.4429045,"state":"queued","progress":null,"preview":null,"preview_header":null,"failure":null,"queue_position":0}');
INSERT INTO "events" VALUES('383dd8b0c5fd4e5b953a792539a2af32',2,'{"number":2,"time":1795387156.4443786,"state":"running","progress":null,"preview":null,"preview_header":null,"failure":null,"queue_position":0}');
INSERT INTO "events" VALUES('383dd8b0c5fd4e5b953a792539a2af32',7,'{"number":7,"time":1795387156.4486268,"state":"succeeded","progress":null,"preview":null,"preview_header":null,"failure":null,"queue_position":0}');
INSERT INTO "events" VALUES('620c887cfadd4ab3850a8573922adffa',1,'{"number":1,"time":1795387156.454534,"state":"queued","progress":null,"preview":null,"preview_header":null,"failure":null,"queue_position":0}');
INSERT INTO "events" VALUES('620c887cfadd4ab3850a8573922adffa',2,'{"number":2,"time":1795387156.4552445,"state":"running","progress":null,"preview":null,"preview_header":null,"failure":null,"queue_position":0}');
INSERT INTO "events" VALUES('b4f5e7a2c59049a58a7e97da4f3a40e5',1,'{"number":1,"time":1795387156.4507072,"state":"queued","progress":null,"preview":null,"preview_header":null,"failure":null,"queue_position":0}');
INSERT INTO "events" VALUES('b4f5e7a2c59049a58a7e97da4f3a40e5',2,'{"number":2,"time":1795387156.4516356,"state":"running","progress":null,"preview":null,"preview_header":null,"failure":null,"queue_position":0}');
INSERT INTO "events" VALUES('b4f5e7a2c59049a58a7e97da4f3a40e5',3,'{"number":3,"time":1795387156.4531572,"state":"failed","progress":null,"preview":null,"preview_header":null,"failure":{"reason":"OUT_OF_MEMORY","message":"The device has too little memory; make the picture smaller.","metadata":{}},"queue_position":0}');
CREATE TABLE inputs (
        job_id TEXT NOT NULL REFERENCES jobs (job_id) ON DELETE CASCADE,
        image_id TEXT NOT NULL,
        PRIMARY KEY (job_id, image_id)
    ) STRICT, WITHOUT ROWID;
INSERT INTO "inputs" VALUES('383dd8b0c5fd4e5b953a792539a2af32','168a038f70129d783623dd332cde00775d80d0578c9900746db2879101aa86f3');
CREATE TABLE jobs (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,      -- order of acceptance
        job_id TEXT NOT NULL UNIQUE,
        owner TEXT NOT NULL,
        request_id TEXT NOT NULL,
        state TEXT NOT NULL,
        request TEXT NOT NULL,                      -- JSON of pipelines.request.Request
        create_time REAL NOT NULL,                  -- seconds since the epoch, UTC
        start_time REAL,
        end_time REAL,
        attempts INTEGER NOT NULL DEFAULT 0,        -- how often it was started
        crashes INTEGER NOT NULL DEFAULT 0,         -- how often a process died under it
        cancel_requested INTEGER NOT NULL DEFAULT 0,
        failure TEXT,                               -- JSON of JobFailure
        UNIQUE (owner, request_id)
    ) STRICT;
INSERT INTO "jobs" VALUES(1,'08372fc892c3406097771dd316bea521','ada','done','succeeded','{"type":"text_to_image","parameters":{"prompt":"moss","negative_prompt":"","model":"","num_inference_steps":null,"guidance_scale":null,"scheduler":"","seed":7,"count":2,"seamless":"none","adapters":[],"style":""},"extent":[12,8]}',1.79538715605889868734e+09,1.79538715641529154779e+09,1.79538715644052076342e+09,1,0,0,NULL);
INSERT INTO "jobs" VALUES(2,'383dd8b0c5fd4e5b953a792539a2af32','ada','echoed','succeeded','{"type":"image_to_image","parameters":{"prompt":"echo","negative_prompt":"","model":"","num_inference_steps":null,"guidance_scale":null,"scheduler":"","seed":3,"count":1,"seamless":"none","adapters":[],"style":""},"image":"168a038f70129d783623dd332cde00775d80d0578c9900746db2879101aa86f3","strength":0.6}',1.79538715644290447232e+09,1.7953871564443786144e+09,1.7953871564486267566e+09,1,0,0,NULL);
INSERT INTO "jobs" VALUES(3,'b4f5e7a2c59049a58a7e97da4f3a40e5','bob','failed','failed','{"type":"text_to_image","parameters":{"prompt":"oom","negative_prompt":"","model":"","num_inference_steps":null,"guidance_scale":null,"scheduler":"","seed":7,"count":1,"seamless":"none","adapters":[],"style":""},"extent":[12,8]}',1.79538715645070719715e+09,1.79538715645163559917e+09,1.79538715645315718645e+09,1,0,0,'{"reason":"OUT_OF_MEMORY","message":"The device has too little memory; make the picture smaller.","metadata":{}}');
INSERT INTO "jobs" VALUES(4,'620c887cfadd4ab3850a8573922adffa','ada','running','running','{"type":"text_to_image","parameters":{"prompt":"slow","negative_prompt":"","model":"","num_inference_steps":null,"guidance_scale":null,"scheduler":"","seed":7,"count":1,"seamless":"none","adapters":[],"style":""},"extent":[12,8]}',1.79538715645453405382e+09,1.79538715645524454118e+09,NULL,1,0,0,NULL);
INSERT INTO "jobs" VALUES(5,'3835c05f1a664206a221d10a12fe7665','bob','queued','queued','{"type":"text_to_image","parameters":{"prompt":"moss","negative_prompt":"","model":"","num_inference_steps":null,"guidance_scale":null,"scheduler":"","seed":7,"count":1,"seamless":"none","adapters":[],"style":""},"extent":[12,8]}',1.79538715645644330982e+09,NULL,NULL,0,0,0,NULL);
CREATE TABLE results (
        job_id TEXT NOT NULL REFERENCES jobs (job_id) ON DELETE CASCADE,
        position INTEGER NOT NULL,
        image_id TEXT NOT NULL,
        mask_id TEXT,
        body TEXT NOT NULL,                         -- JSON of JobResult
        PRIMARY KEY (job_id, position)
    ) STRICT, WITHOUT ROWID;
INSERT INTO "results" VALUES('08372fc892c3406097771dd316bea521',0,'6bb28e3991dac31d84eef8442e504de87711e468fca3038c03cb196dbf1a1907',NULL,'{"index":0,"image":{"image_id":"6bb28e3991dac31d84eef8442e504de87711e468fca3038c03cb196dbf1a1907","header":{"extent":[12,8],"channels":3,"dtype":"uint8","color_space":"srgb","icc_profile":"","encoding":"raw"}},"seed":7,"recipe":"{\"model\":\"tiny\",\"prompt\":\"moss\",\"seed\":7,\"calls\":3}","bounds":null,"composite_mask":null,"plan":null,"map_name":""}');
INSERT INTO "results" VALUES('08372fc892c3406097771dd316bea521',1,'e6469a778434394fdce8840f81babe5c2dca9a4345d8843f20fac4ecf76b6915',NULL,'{"index":1,"image":{"image_id":"e6469a778434394fdce8840f81babe5c2dca9a4345d8843f20fac4ecf76b6915","header":{"extent":[12,8],"channels":3,"dtype":"uint8","color_space":"srgb","icc_profile":"","encoding":"raw"}},"seed":8,"recipe":"{\"model\":\"tiny\",\"prompt\":\"moss\",\"seed\":8,\"calls\":3}","bounds":null,"composite_mask":null,"plan":null,"map_name":""}');
INSERT INTO "results" VALUES('383dd8b0c5fd4e5b953a792539a2af32',0,'168a038f70129d783623dd332cde00775d80d0578c9900746db2879101aa86f3',NULL,'{"index":0,"image":{"image_id":"168a038f70129d783623dd332cde00775d80d0578c9900746db2879101aa86f3","header":{"extent":[12,8],"channels":3,"dtype":"uint8","color_space":"srgb","icc_profile":"","encoding":"raw"}},"seed":3,"recipe":"{\"model\":\"tiny\",\"prompt\":\"echo\",\"seed\":3,\"calls\":5}","bounds":null,"composite_mask":null,"plan":null,"map_name":""}');
CREATE INDEX jobs_by_state ON jobs (state, seq);
CREATE INDEX jobs_by_owner ON jobs (owner, seq);
CREATE INDEX inputs_by_image ON inputs (image_id);
CREATE INDEX results_by_image ON results (image_id);
CREATE INDEX results_by_mask ON results (mask_id);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('jobs',5);
COMMIT;
PRAGMA user_version = 1;
